"""Time of one generator write of 10,000 points and one oscilloscope read of 10,000, over the whole VISA stack.

The bench runs in a process of its own, as ``hwloop bench`` does; the client is PyVISA with pyvisa-py, with its
socket's default options and with TCP_NODELAY. The second figure of a line adds what makes the reading new:
arming, *TRG, and the fixture's answer.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyvisa
from sizes import sized
from table import print_table

POINTS, REPEATS = 10_000, sized(200, short=2)
RUNNING = 8
BENCH = "from hwloop.cli import main; main()"
CLIENT_OPTIONS = {"default options": False, "TCP_NODELAY": True}


def main():
    settings = ["--set", "n_inputs=16", "--set", "n_outputs=16"]
    server = subprocess.Popen(
        [sys.executable, "-c", BENCH, "bench", "--json", *settings], stdout=subprocess.PIPE, text=True
    )
    try:
        names = json.loads(server.stdout.readline())
        lines = [time_option(names, option, nodelay) for option, nodelay in CLIENT_OPTIONS.items()]
    finally:
        server.terminate()
        server.wait()
    print_table(
        f"milliseconds, median (90th percentile) of {REPEATS}; {POINTS:,} points each way",
        ["client", "write and read", "and a burst between"],
        lines,
    )


def time_option(names, option, nodelay):
    manager = pyvisa.ResourceManager("@py")
    generator, scope = (connect(manager, names[role], nodelay) for role in ("generator", "oscilloscope"))
    try:
        prepare(generator, scope)
        return [option, timed(generator, scope, exchange), timed(generator, scope, burst)]
    finally:
        generator.close()
        scope.close()
        manager.close()


def connect(manager, name, nodelay):
    link = manager.open_resource(name, read_termination="\n", write_termination="\n", timeout=5000)
    link.chunk_size = 1 << 20
    if nodelay:
        interface = link.visalib.sessions[link.session].interface  # the VISA attribute does nothing in pyvisa-py
        interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def prepare(generator, scope):
    for command in ("*RST", "OUTP1:LOAD INF", "FUNC:ARB:FILT OFF", "FUNC:ARB:SRAT 1e6", "FORM:BORD SWAP"):
        generator.write(command)
    upload(generator)
    for command in ("FUNC:ARB rows", "FUNC ARB", "VOLT 2", "BURS:STAT ON", "TRIG:SOUR BUS", "OUTP ON"):
        generator.write(command)
    for command in ("*RST", ":CHAN1:PROB 1;RANG 4", ":TIM:REF LEFT;RANG 0.01"):
        scope.write(command)
    for command in (":TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;LEV 1.5", ":WAV:SOUR CHAN1;FORM WORD;BYT LSBF;POIN 10000"):
        scope.write(command)
    burst(generator, scope)
    for link in (generator, scope):
        error = link.query("SYST:ERR?")
        assert error.startswith("+0"), error


def upload(generator):
    values = np.zeros(POINTS, np.float32)
    values[20:60] = 1.0
    generator.write("DATA:VOL:CLE")
    generator.write_binary_values("DATA:ARB rows,", values, datatype="f", is_big_endian=False)


def download(scope):
    data = scope.query_binary_values(":WAV:DATA?", datatype="H", is_big_endian=False, container=np.array)
    assert len(data) == POINTS
    return data


def exchange(generator, scope):
    upload(generator)
    assert generator.query("*OPC?") == "1"  # the waveform is in its memory, not only on its way
    download(scope)


def burst(generator, scope):
    upload(generator)
    generator.write("FUNC:ARB rows")
    scope.write(":SING")
    while scope.query(":AER?") != "+1":  # two sockets are two queues: without this *TRG could come first
        pass
    generator.write("*TRG")
    while int(scope.query(":OPER:COND?")) & RUNNING:
        pass
    download(scope)


def timed(generator, scope, action):
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action(generator, scope)
        times.append(1e3 * (time.perf_counter() - start))
    return f"{statistics.median(times):.2f} ({np.percentile(times, 90):.2f})"


if __name__ == "__main__":
    main()
