"""What a run was made with: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hwloop

PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "pydantic", "matplotlib", "safetensors")


def environment() -> dict[str, Any]:
    """Versions, commit and machine, as plain JSON values."""
    return {
        "hwloop": hwloop.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def package_version(package: str) -> str | None:
    """The version of an installed package; ``None`` if there is none."""
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
