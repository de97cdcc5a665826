"""What a run was made with: versions, commit and machine, settings, and the devices that measured it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hwloop
from hwloop.device import Device, DeviceDescription
from hwloop.device.description import plain_spec
from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig, MeasuredWith
from hwloop.session.same_device import joined
from hwloop.toml_text import Inline

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


# Of the configuration, all that a seed's weights and scores follow from; the rest may change between two sessions.
DECISIVE = ("dataset", "device", "trainer", "network", "split", "evidence", "reference", "reuse")
ARITHMETIC = ("numpy", "scipy", "torch", "scikit-learn")


def made_with(config: ExperimentConfig) -> dict[str, Any]:
    """Digest of the settings, and versions, as plain JSON values; equal ones give equal bits.

    What a function of the user's gave is compared before, by its own digest: older runs do not know it.
    """
    table = config.as_table()
    table["dataset"].pop("data_sha256", None)
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


# What a run fills in anew for every seed; see hwloop.experiment.rigs. A replay answers from the seed's journal.
OF_THE_SEED = re.compile(r"\.(seed|run|run_seed|device_number|journal|recorded): | says of itself ")


class MeasuredDevices:
    """The devices of a run, by seed and number.

    Parameters
    ----------
    known
        What an earlier run, or this one before it was stopped, was measured with.
    where
        The file that says so, for messages.
    """

    def __init__(self, known: Iterable[MeasuredWith], where: str) -> None:
        self._where = where
        self._known = {
            (entry.seed, entry.device): DeviceDescription.from_dict(entry.description) for entry in known
        }

    def require_same(self, seed: int, number: int, device: Device, description: DeviceDescription) -> None:
        """Refuse a device that is another one than the run was measured with; nothing was measured yet.

        A seed that was not measured yet is compared with the others: between seeds nothing but the seed differs.

        Raises
        ------
        ConfigError
            It names the device file, if there is one, and every setting that differs, with both values.
        """
        self._compare(seed, number, device, description, lambda recorded: recorded)

    def require_alike(self, seed: int, number: int, device: Device) -> None:
        """The same as far as a device can be known that is not open yet: all but who it is; raises as it does.

        For a run that is not begun: nothing is opened, and no folder is made.
        """
        try:
            description = device.describe()
        except Exception:  # somebody's driver that says nothing of itself while it is closed
            return
        self._compare(seed, number, device, _nameless(description), _nameless)

    def _compare(
        self,
        seed: int,
        number: int,
        device: Device,
        description: DeviceDescription,
        seen_as: Callable[[DeviceDescription], DeviceDescription],
    ) -> None:
        known = self._known.get((seed, number))
        different = [] if known is None else seen_as(known).differences(description)
        if known is None:
            others = [each for (_, of), each in sorted(self._known.items(), key=_place) if of == number]
            found = seen_as(others[0]).differences(description) if others else []
            different = beyond_the_seed(found)
        if different:
            name = f"{device.built_from} describes" if device.built_from else "This is"
            raise ConfigError(
                f"{self._where} says with which device number {number} seed {seed} was measured. {name} another "
                f"one now; recorded, and now: {joined(different)}. Set that back; to measure with the device as "
                "it is now, start a new run (with a copy of run.toml without its measured_with tables)"
            )

    def note(self, seed: int, number: int, description: DeviceDescription) -> None:
        """A seed is measured with this device."""
        self._known[seed, number] = description

    def as_table(self) -> list[dict[str, Any]]:
        """As ``run.toml`` holds them."""
        return [
            {"seed": seed, "device": number, "description": _laid_out(description)}
            for (seed, number), description in sorted(self._known.items(), key=_place)
        ]


def _nameless(description: DeviceDescription) -> DeviceDescription:
    """The same device without what the hardware says of itself."""
    return replace(description, identity="", inside=tuple(map(_nameless, description.inside)))


def beyond_the_seed(differences: Iterable[str]) -> list[str]:
    """Differences between two descriptions of a run's devices, but those that another seed brings."""
    return [words for words in differences if not OF_THE_SEED.search(words)]


def _place(item: tuple[tuple[int, int], DeviceDescription]) -> tuple[int, int]:
    return item[0]


def _laid_out(description: DeviceDescription) -> dict[str, Any]:
    """Settings and spec on a line each: they keep their order there."""
    return {
        **description.as_dict(),
        "settings": Inline(description.settings),
        "spec": Inline(plain_spec(description.spec)),
        "inside": [_laid_out(each) for each in description.inside],
    }
