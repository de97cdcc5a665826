"""Environments in which workers are started: where they are, what is in them, whether they work."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from hwloop.devices.worker.recipes import RECIPES
from hwloop.errors import ConfigError

MANIFEST = "hwloop-environment.json"
FORMAT = 1
PROBE_SECONDS = 60.0  # the first import of a package reads it from the disk
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

# Started in the environment: imports what must be importable, tells what is installed. Runs on Python 3.8.
PROBE = """
import importlib, json, sys
from importlib import metadata
for name in sys.argv[1:]:
    importlib.import_module(name)
found = {(d.metadata["Name"] or "").lower().replace("_", "-"): d.version for d in metadata.distributions()}
found = {name: found[name] for name in sorted(found) if name not in ("", "pip", "setuptools")}
print(json.dumps({"python": "%d.%d.%d" % sys.version_info[:3], "installed": found}))
"""


class State(StrEnum):
    """What an environment is worth."""

    WHOLE = "whole"
    BROKEN = "broken"
    HALF_BUILT = "half-built"


@dataclass(frozen=True)
class Manifest:
    """What an environment was built from; it is written last, so one without it is half-built.

    ``installed`` holds the exact version of every package but pip and setuptools; ``imports`` the modules that
    must be importable.
    """

    python: str
    python_version: str
    built: str
    requirements: str
    installed: Mapping[str, str]
    imports: Sequence[str]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write it to the disk, whole or not at all."""
        new = folder / f"{MANIFEST}.new"
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / MANIFEST)


def environments_folder() -> Path:
    """``$HWLOOP_HOME/environments``, by default in ``$XDG_DATA_HOME/hwloop``, else ``~/.local/share/hwloop``."""
    home = os.environ.get("HWLOOP_HOME")
    if home:
        return Path(home).expanduser().absolute() / "environments"
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    return base / "hwloop" / "environments"


class Environment:
    """A virtual environment by name; it need not exist.

    Parameters
    ----------
    name
        Lower-case letters, digits, ``_`` and ``-``.

    Raises
    ------
    ConfigError
        The name cannot be one.
    """

    def __init__(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"an environment cannot be named {name!r}: use lower-case letters, digits, '_' and '-', "
                "at most 64, beginning with a letter or digit"
            )
        self.name = name
        self.folder = environments_folder() / name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def log(self) -> Path:
        """What pip said; beside the environment, so that it outlives a failed build."""
        return self.folder.with_name(f"{self.name}.log")

    def exists(self) -> bool:
        """Whether there is anything of it, whole or not."""
        return self.folder.exists()

    def manifest(self) -> Manifest | None:
        """What it was built from; ``None`` if it is half-built, or if the file is none that hwloop wrote."""
        try:
            entries = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            manifest = Manifest(**entries)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return manifest if _is_sound(manifest) else None

    def probe(self, imports: Sequence[str]) -> dict[str, Any]:
        """Start its Python, import what must be importable, and ask what is installed.

        Raises
        ------
        ConfigError
            It does not start, or something cannot be imported; the message holds the last line of why.
        """
        try:
            answer = subprocess.run(
                [self.python, "-I", "-c", PROBE, *imports],
                capture_output=True,
                text=True,
                timeout=PROBE_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"its Python does not start ({error})") from error
        if answer.returncode:
            last = (answer.stderr.strip() or f"exit status {answer.returncode}").splitlines()[-1]
            raise ConfigError(f"its Python fails: {last}")
        try:
            found = json.loads(answer.stdout.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise ConfigError(f"its Python answers {answer.stdout[-200:]!r}") from error
        return dict(found)

    def state(self) -> tuple[State, str]:
        """What it is worth, found out by starting its Python, and in a few words why."""
        manifest = self.manifest()
        if manifest is None:
            return State.HALF_BUILT, "its build did not end"
        try:
            found = self.probe(manifest.imports)
        except ConfigError as error:
            return State.BROKEN, str(error)
        changed = _changes(manifest.installed, found["installed"])
        if changed:
            return State.BROKEN, f"altered since it was built: {changed}"
        count = len(found["installed"])
        return State.WHOLE, f"Python {found['python']}, {count} package{'' if count == 1 else 's'}"

    def remove(self) -> None:
        """Delete it and its log; the manifest first, so that an interrupted removal leaves no whole one.

        Raises
        ------
        ConfigError
            There is none of this name.
        """
        if not self.exists() and not self.log.exists():
            raise ConfigError(f"there is no environment {self.name!r}; see hwloop worker list")
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (self.folder / MANIFEST).unlink()
        if self.exists():
            shutil.rmtree(self.folder)
        self.log.unlink(missing_ok=True)


def list_environments() -> list[Environment]:
    """Every environment that there is something of, by name."""
    try:
        folders = sorted(path for path in environments_folder().iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    return [Environment(path.name) for path in folders if NAME.fullmatch(path.name)]


def environment_python(name: str) -> Path:
    """The interpreter of an environment that was built to its end, for starting a worker.

    Raises
    ------
    ConfigError
        There is none of this name, or it is half-built; the message says how to install it.
    """
    environment = Environment(name)
    if environment.manifest() is not None and environment.python.exists():
        return environment.python
    how = f"hwloop worker install {name}" + ("" if name in RECIPES else " --requirements FILE")
    what = "is half-built" if environment.exists() else "is not installed"
    raise ConfigError(f"the environment {name!r} {what} ({environment.folder}); install it with: {how}")


def _is_sound(manifest: Manifest) -> bool:
    texts = (manifest.python, manifest.python_version, manifest.built, manifest.requirements)
    return (
        manifest.format == FORMAT
        and all(isinstance(text, str) for text in texts)
        and isinstance(manifest.installed, dict)
        and all(isinstance(version, str) for version in manifest.installed.values())
        and isinstance(manifest.imports, list)
        and all(isinstance(module, str) and module for module in manifest.imports)
    )


def _changes(built: Mapping[str, str], found: Mapping[str, str]) -> str:
    names = sorted(name for name in {*built, *found} if built.get(name) != found.get(name))
    return ", ".join(f"{name} {built.get(name, 'absent')} -> {found.get(name, 'absent')}" for name in names)
