"""What the bits of a run's results depend on beside its measured rows: settings and versions."""

from __future__ import annotations

import hashlib
import json
import platform
from typing import Any

import hwloop
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.environment import package_version

# Of the configuration, all that a seed's weights and scores follow from; the rest may change between two sessions.
DECISIVE = ("dataset", "device", "trainer", "network", "split", "evidence", "reference", "reuse")
ARITHMETIC = ("numpy", "scipy", "torch", "scikit-learn")


def made_with(config: ExperimentConfig) -> dict[str, Any]:
    """Digest of the settings, and versions, as plain JSON values; equal ones give equal bits."""
    table = config.as_table()
    settings = json.dumps({name: table.get(name) for name in DECISIVE}, sort_keys=True, default=str)
    return {
        "settings": hashlib.sha256(settings.encode()).hexdigest()[:16],
        "hwloop": hwloop.__version__,
        "python": platform.python_version(),
        **{name: package_version(name) for name in ARITHMETIC},
    }


def unlike(then: Any, now: dict[str, Any]) -> str:
    """In words, in what something was made with other settings or versions; empty if it was not."""
    if not isinstance(then, dict):
        return "an earlier version of hwloop wrote it"
    changed = [
        "with other settings in run.toml" if name == "settings" else f"with {name} {then.get(name)}, now {value}"
        for name, value in now.items()
        if then.get(name) != value
    ]
    return f"it was made {' and '.join(changed)}" if changed else ""
