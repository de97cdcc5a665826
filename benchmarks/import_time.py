"""Time of ``import hwloop``, ``hwloop --help``, ``list`` and ``info``, warm, beside a Python that does nothing.

python benchmarks/import_time.py
"""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from sizes import sized
from table import print_table

REPEATS = sized(15, short=1)


def median_seconds(command: list[str]) -> float:
    """Median of warm runs."""
    times = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])  # the first one warms the caches


def main() -> None:
    beside = Path(sys.executable).with_name("hwloop")
    script = str(beside) if beside.exists() else shutil.which("hwloop") or "hwloop"
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        "python -c 'import hwloop'": [sys.executable, "-c", "import hwloop"],
        "hwloop --help": [script, "--help"],
        "hwloop run --help": [script, "run", "--help"],
        "hwloop list": [script, "list"],
        "hwloop info optical-fibre": [script, "info", "optical-fibre"],
    }
    seconds = {name: median_seconds(command) for name, command in commands.items()}
    nothing = seconds["python -c pass"]
    print_table(
        f"start-up, median of {REPEATS} warm runs",
        ["", "seconds", "over pass"],
        [[name, f"{value:.3f}", f"{value / nothing:.1f}"] for name, value in seconds.items()],
    )


if __name__ == "__main__":
    main()
