"""What the waveform device makes of its two links, on a virtual bench in a process of its own.

1. One upload of 10,000 points and one record of 10,000 points: median time, also with a socket's default options.
2. Rows a second, beside plain sockets that carry the same bytes: to and from the same bench (what the instruments
   themselves leave of it), and to and from a peer that does nothing (what the loopback could carry). The bench
   simulates physics and converters, which takes a hundred times longer than the bytes: its share is the driver's.
3. With ``--accuracy``: ``digits-optical`` through the bench and in-process, five seeds, about five minutes.

    python benchmarks/waveform_throughput.py [--accuracy]
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are loaded

import contextlib
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyvisa
from sizes import sized
from table import print_table

import hwloop
from hwloop.devices.scpi import ScpiLink
from hwloop.devices.scpi.messages import block_header

N_INPUTS, N_OUTPUTS, EXPOSURE = 71, 1000, 3.0
SUBSTRATE = {"n_inputs": N_INPUTS, "n_outputs": N_OUTPUTS, "exposure": EXPOSURE}
POINTS = 10_000
REPEATS, TIMES = sized((15, 200), short=(1, 2))
BURSTS = sized((8, 4, 2), short=(1, 1, 1))


def serve(pipe, options):
    """The bench's process."""
    from hwloop.simulators.bench.virtual_bench import VirtualBench

    with VirtualBench("optical-fibre", substrate_settings=SUBSTRATE, **options) as bench:
        pipe.send(bench.device_table()["settings"])
        with contextlib.suppress(EOFError):
            pipe.recv()


@contextlib.contextmanager
def bench(**options):
    """Settings of a device on a bench in another process."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, options), daemon=True)
    process.start()
    there.close()
    yield here.recv()
    here.close()
    process.join()


def median_milliseconds(action, repeats=TIMES):
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


# -- 1 -----------------------------------------------------------------------------------------------------


def one_write_and_one_read(settings):
    """Medians in ms: through the links, and through pyvisa-py's sessions as they are."""
    codes = np.zeros(POINTS, dtype="<i2")
    setup = (":TIMebase:SCALe 1E-4", ":WAVeform:POINts:MODE RAW", f":WAVeform:POINts {POINTS}", ":TRIGger:FORCe")
    generator, scope = (ScpiLink(settings[name]) for name in ("generator", "oscilloscope"))
    generator.open()
    scope.open()
    generator.write("*RST;FORMat:BORDer SWAP")
    scope.execute("*RST", ":SINGle", *setup)

    def through_links():
        generator.write("DATA:VOLatile:CLEar")
        generator.execute_block("DATA:ARBitrary:DAC HWL,", codes)
        assert len(scope.query_block(":WAVeform:DATA?")) == POINTS

    ours = median_milliseconds(through_links)
    generator.close()
    manager = pyvisa.ResourceManager("@py")
    plain = [manager.open_resource(settings[name]) for name in ("generator", "oscilloscope")]
    for session in plain:
        session.read_termination = session.write_termination = "\n"

    def through_plain_sessions():
        plain[0].write("DATA:VOLatile:CLEar")
        plain[0].write_binary_values("DATA:ARBitrary:DAC HWL,", codes, datatype="h")
        assert plain[0].query("SYSTem:ERRor?").startswith("+0")
        plain[1].query_binary_values(":WAVeform:DATA?", datatype="B", container=np.array)

    theirs = median_milliseconds(through_plain_sessions, repeats=min(TIMES, 20))
    scope.close()
    for session in plain:
        session.close()
    return ours, theirs


# -- 2 -----------------------------------------------------------------------------------------------------


def connected(resource):
    _, host, port, _ = resource.split("::")
    link = socket.create_connection((host, int(port)), timeout=10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def raw_on_bench(settings, messages):
    """Seconds plain sockets take for the same bursts on the same bench, with no check and no decoding."""
    generator, scope = (connected(settings[name]) for name in ("generator", "oscilloscope"))
    answers = scope.makefile("rb")
    begin = time.perf_counter()
    for name, message in messages:
        generator.sendall(message)
        scope.sendall(b":SINGle;:AER?\n")
        answers.readline()
        generator.sendall(b"FUNC:ARB " + name + b";:OUTP1 ON;*TRG\n")
        while True:
            scope.sendall(b":OPER:COND?\n")
            if not int(answers.readline()) & 8:
                break
            time.sleep(2e-4)
        scope.sendall(b":WAV:DATA?\n")
        digits = int(answers.read(2)[1:])
        answers.read(int(answers.read(digits)) + 1)
    seconds = time.perf_counter() - begin
    generator.close()
    answers.close()
    scope.close()
    return seconds


def raw_on_nothing(messages, n_bytes):
    """The same bytes to a peer that throws them away, and from one that has them ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    total = sum(len(message) for _, message in messages)
    down = bytes(n_bytes)

    def peer():
        left = total
        while left:
            left -= len(far.recv(min(left, 1 << 18)))
        for _ in messages:
            far.sendall(down)

    thread = threading.Thread(target=peer)
    begin = time.perf_counter()
    thread.start()
    for _, message in messages:
        near.sendall(message)
    left = n_bytes * len(messages)
    while left:
        left -= len(near.recv(min(left, 1 << 20)))
    seconds = time.perf_counter() - begin
    thread.join()
    near.close()
    far.close()
    return seconds


def throughput(rows_per_burst, bursts, **options):
    """One line of the table: the shortest of interleaved repeats, because other work on the machine slows both."""
    with bench(**options) as settings:
        rig = hwloop.open_device("waveform", **settings, rows_per_burst=rows_per_burst, watchdog=False)
        player, rows_per_burst = rig._player, rig._rows_per_burst
        rows = np.random.default_rng(0).uniform(-1, 1, (rows_per_burst * bursts, N_INPUTS))
        waves = [player.synthesis.waveform(part) for part in np.split(rows, bursts)]
        messages = [upload_message(b"RAW%d" % number, wave) for number, wave in enumerate(waves)]
        n_bytes = player.oscilloscope.points_for(player.record_plan(rows_per_burst).points)
        ours, raw, nothing, own = [], [], [], []
        with rig:
            for _ in range(REPEATS):
                begin, spent = time.perf_counter(), time.process_time()
                rig.measure(rows)
                ours.append(time.perf_counter() - begin)
                own.append(time.process_time() - spent)
                raw.append(raw_on_bench(settings, messages))
                player.generator.forget_waveforms()
                nothing.append(raw_on_nothing(messages, n_bytes))
    seconds, on_bench, on_nothing = (min(times) for times in (ours, raw, nothing))
    megabytes = (sum(wave.nbytes for wave in waves) + n_bytes * bursts) / 1e6
    wire = bursts * player.decoder.timing.stimulus_seconds(rows_per_burst)
    kind = "real time" if options.get("realtime") else "at once"
    return [
        f"{bursts} bursts of {rows_per_burst} rows, {kind}", f"{megabytes:.1f}", f"{len(rows) / seconds:,.0f}",
        f"{seconds:.3f}", f"{on_bench:.3f}", f"{100 * on_bench / seconds:.0f} %", f"{min(own):.3f}",
        f"{on_nothing:.4f}", f"{wire:.3f}",
    ]  # fmt: skip


def upload_message(name, wave):
    header = b"DATA:VOL:CLE;:DATA:ARB:DAC " + name + b"," + block_header(wave.nbytes)
    return name, header + wave.tobytes() + b"\n"


# -- 3 -----------------------------------------------------------------------------------------------------


def accuracy(*overrides):
    """Mean test accuracy of five seeds, in percent, as ``hwloop run`` reports it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hwloop.cli", "run", "digits-optical", "--json", "--out", f"{folder}/run"]
        command += [part for override in overrides for part in ("--set", override)]
        reply = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return 100 * json.loads(reply)["test_accuracy"]["mean"]


def accuracies():
    """Through the bench, and in-process with the same fibre."""
    with bench() as settings, tempfile.TemporaryDirectory() as folder:
        toml = Path(folder) / "rig.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        toml.write_text("\n".join(['device = "waveform"', "[settings]", *lines, ""]))
        return accuracy(f"device={toml}"), accuracy("device.settings.seed=0")


def main():
    with bench() as settings:
        ours, theirs = one_write_and_one_read(settings)
    print_table(
        f"one upload and one record of {POINTS:,} points each, median",
        ["through", "ms"],
        [["hwloop's links", f"{ours:.2f}"], ["pyvisa-py's sessions as they are", f"{theirs:.2f}"]],
    )
    lines = [
        throughput(60, BURSTS[0]),
        throughput(240, BURSTS[1]),
        throughput(60, BURSTS[2], realtime=True),
    ]
    header = [
        "",
        "MB",
        "rows/s",
        "device s",
        "raw, same bench s",
        "share",
        "own CPU s",
        "raw, no bench s",
        "on the wire s",
    ]
    print_table("digits' rows through the waveform device", header, lines)
    if "--accuracy" in sys.argv:
        through, inside = accuracies()
        lines = [["through the bench", f"{through:.2f} %"], ["in-process", f"{inside:.2f} %"]]
        print_table("digits-optical, five seeds, same fibre", ["", "test accuracy"], lines)


if __name__ == "__main__":
    main()
