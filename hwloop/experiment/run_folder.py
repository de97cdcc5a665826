"""A run's folder: the resolved configuration, the environment, every event and the final evidence."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hwloop
from hwloop.errors import ConfigError
from hwloop.events import Event
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.toml_text import toml_text

RUNS = Path("runs")
PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "pydantic", "matplotlib", "safetensors")


class RunFolder:
    """Everything that a run leaves on disk; each line is written as it happens, so a killed run keeps it.

    Parameters
    ----------
    path
        As :func:`free_folder` gives it; made if it is not there.
    """

    def __init__(self, path: Path, config: ExperimentConfig) -> None:
        self.path = path
        try:
            (path / "plots").mkdir(parents=True, exist_ok=True)
            self._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")
            (path / "run.toml").write_text(toml_text(config.as_table()), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
        self._config = config
        self._lock = threading.Lock()  # events come from the device's thread too
        self.write_environment([])

    def __call__(self, event: Event) -> None:
        """A listener: one line an event."""
        self.write_line(event.as_dict())

    def write_line(self, entry: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``, with the time."""
        text = json.dumps({"time": round(time.time(), 3), **entry}, default=_plain)
        with self._lock:
            if not self._metrics.closed:
                self._metrics.write(text + "\n")
                self._metrics.flush()

    def write_environment(self, devices: list[str]) -> None:
        """Write ``environment.json``: versions, commit, seeds, and who the devices say they are."""
        environment = {
            "hwloop": hwloop.__version__,
            "commit": _commit(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpu_count": os.cpu_count(),
            "packages": {name: _version(name) for name in PACKAGES},
            "seeds": self._config.seeds,
            "devices": devices,
        }
        self.write_text("environment.json", json.dumps(environment, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write a file whole or not at all: to a new file first, then renamed."""
        target = self.path / name
        part = target.with_name(target.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(target)
        return target

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write a network's ``state_dict`` to ``checkpoints/final.safetensors``."""
        from safetensors.torch import save_file

        target = self.path / "checkpoints" / "final.safetensors"
        target.parent.mkdir(exist_ok=True)
        part = target.with_name(target.name + ".part")
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, part)
        part.replace(target)

    def close(self) -> None:
        """No line after this."""
        with self._lock:
            self._metrics.close()


def free_folder(name: str, out: str | Path | None) -> Path:
    """Where a run may write: ``out`` if it is empty or new, else a new ``runs/<time>-<name>``.

    Raises
    ------
    ConfigError
        ``out`` holds something already, or is a file: no run overwrites another.
    """
    if out is None:
        base = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
        numbered = (RUNS / (base if k == 0 else f"{base}-{k + 1}") for k in range(1000))
        return next(path for path in numbered if not path.exists())
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file; give --out a folder")
    if path.is_dir() and any(path.iterdir()):
        raise ConfigError(f"{path} is not empty, and no run overwrites another; give --out a new folder")
    return path


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that hwloop is imported from, if it is one."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(hwloop.__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays as JSON."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
