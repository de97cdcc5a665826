"""hwloop: train neural networks whose nonlinear layers are real physical systems, or simulations of them.

Names resolve when they are first used, so that ``import hwloop`` loads no torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from hwloop._version import __version__

# On some processors a product would compute a row otherwise in another place of its block (docs/decisions/0051).
# Read when torch first multiplies; a user's value wins.
os.environ.setdefault("MKL_CBWR", "AUTO")

if TYPE_CHECKING:
    from hwloop import adapt, nn, twin
    from hwloop.adapt import Adapter, Anchors
    from hwloop.checkpoint import load_network, save_network
    from hwloop.cli.running import run
    from hwloop.device import Device, DeviceSpec, DeviceWrapper, RowHandling, Tunable
    from hwloop.devices.averaged import Averaged
    from hwloop.devices.calibrated import Calibrated
    from hwloop.devices.drifting import Drifting
    from hwloop.devices.faulty import Faulty
    from hwloop.devices.pool import Pool
    from hwloop.devices.quantized import Quantized
    from hwloop.devices.retrying import Retrying
    from hwloop.devices.settled import Settled
    from hwloop.devices.slew_limited import SlewLimited
    from hwloop.errors import (
        BadReading,
        BudgetExceeded,
        CheckpointError,
        ConfigError,
        ConformityError,
        DatasetError,
        DeviceChanged,
        DeviceCrashed,
        DeviceDisconnected,
        DeviceDrifted,
        DeviceError,
        DeviceTimeout,
        HwloopError,
        HwloopWarning,
        JournalError,
        LimitError,
        StimulusError,
        TuningError,
    )
    from hwloop.estimator import PhysicalClassifier, PhysicalRegressor, PhysicalReservoir
    from hwloop.experiments.dataset import Dataset
    from hwloop.layers import PhysicalNetwork, Stage
    from hwloop.reference import Reference
    from hwloop.registry import open_device
    from hwloop.replay import NearestReplay, Replay
    from hwloop.session import Session
    from hwloop.training import Trainer, trainer

_HOMES = {
    "adapt": ("Adapter", "Anchors"),
    "checkpoint": ("load_network", "save_network"),
    "cli.running": ("run",),
    "device": ("Device", "DeviceSpec", "DeviceWrapper", "RowHandling", "Tunable"),
    "devices.averaged": ("Averaged",),
    "devices.calibrated": ("Calibrated",),
    "devices.drifting": ("Drifting",),
    "devices.faulty": ("Faulty",),
    "devices.quantized": ("Quantized",),
    "devices.pool": ("Pool",),
    "devices.retrying": ("Retrying",),
    "devices.settled": ("Settled",),
    "devices.slew_limited": ("SlewLimited",),
    "errors": (
        "BadReading",
        "BudgetExceeded",
        "CheckpointError",
        "ConfigError",
        "ConformityError",
        "DatasetError",
        "DeviceChanged",
        "DeviceCrashed",
        "DeviceDisconnected",
        "DeviceDrifted",
        "DeviceError",
        "DeviceTimeout",
        "HwloopError",
        "HwloopWarning",
        "JournalError",
        "LimitError",
        "StimulusError",
        "TuningError",
    ),
    "experiments.dataset": ("Dataset",),
    "estimator": ("PhysicalClassifier", "PhysicalRegressor", "PhysicalReservoir"),
    "layers": ("PhysicalNetwork", "Stage"),
    "reference": ("Reference",),
    "registry": ("open_device",),
    "replay": ("NearestReplay", "Replay"),
    "session": ("Session",),
    "training": ("Trainer", "trainer"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_SUBMODULES = ("adapt", "nn", "twin")

__all__ = [*_HOME_OF, *_SUBMODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"hwloop.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hwloop' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hwloop.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
