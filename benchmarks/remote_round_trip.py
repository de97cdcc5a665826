"""How long a call takes through a served device, in the clear and under TLS, beside the device itself.

    python benchmarks/remote_round_trip.py [SECONDS]

The device only copies, so what is measured is the way. Server and client are two processes on one computer.
Medians; trust ratios, not milliseconds, on a busy machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sizes import sized

import hwloop
from hwloop.devices.remote import RemoteDevice

CALLS = (("1 x 64 to 100", 1, 64, 100), ("256 x 64 to 100", 256, 64, 100), ("1 MB each way", 256, 512, 512))


class Copying(hwloop.Device):
    """Answers with what it is asked, repeated or cut to its outputs."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        self.spec = hwloop.DeviceSpec(n_inputs, n_outputs)

    def _measure(self, inputs: np.ndarray) -> np.ndarray:
        return np.resize(inputs[0], (len(inputs), self.spec.n_outputs))


def served(settings: list[str], folder: Path, secured: bool) -> tuple[subprocess.Popen[str], str]:
    options = []
    if secured:
        options = ["--key-file", "rig.key", "--certificate", "c.pem", "--certificate-key", "k.pem"]
    options += ["--listen", "127.0.0.1:0", "--set", settings[0], "--set", settings[1]]
    command = ["serve", "remote_round_trip:Copying", *options]
    process = subprocess.Popen(
        [sys.executable, "-c", "from hwloop.cli import main; main()", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip().removeprefix("remote:")


def median_milliseconds(device: hwloop.Device, rows: np.ndarray, seconds: float) -> float:
    taken = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 20:
        began = time.perf_counter()
        device.measure(rows)
        taken.append(time.perf_counter() - began)
    return 1e3 * statistics.median(taken)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else sized(2.0, short=0.01)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=rig"
        subprocess.run(
            [*make.split(), "-keyout", "k.pem", "-out", "c.pem"], cwd=folder, check=True, capture_output=True
        )
        key = folder / "rig.key"
        key.write_text("0123456789abcdef" * 4)
        key.chmod(0o600)
        for label, n_rows, n_inputs, n_outputs in CALLS:
            rows = np.random.default_rng(0).random((n_rows, n_inputs))
            figures = [median_milliseconds(Copying(n_inputs, n_outputs), rows, seconds)]
            for secured in (False, True):
                settings = [f"n_inputs={n_inputs}", f"n_outputs={n_outputs}"]
                process, address = served(settings, folder, secured)
                try:
                    with RemoteDevice(address, key_file=key if secured else None) as device:
                        figures.append(median_milliseconds(device, rows, seconds))
                finally:
                    process.terminate()
                    process.wait()
            print(
                f"{label:18} itself {figures[0]:.3f} ms, served {figures[1]:.3f} ms, under TLS {figures[2]:.3f} ms"
            )


if __name__ == "__main__":
    main()
