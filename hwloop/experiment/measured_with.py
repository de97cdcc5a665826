"""With which devices a run was measured, as its own ``run.toml`` says, and whether they are the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hwloop.device import Device, DeviceDescription
from hwloop.device.description import plain_spec
from hwloop.errors import ConfigError
from hwloop.experiment.config import MeasuredWith
from hwloop.experiment.toml_text import Inline
from hwloop.session.same_device import in_words

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
        known = self._known.get((seed, number))
        different = [] if known is None else known.differences(description)
        if known is None:
            others = [each for (_, of), each in sorted(self._known.items(), key=_place) if of == number]
            found = others[0].differences(description) if others else []
            different = beyond_the_seed(found)
        if different:
            name = f"{device.built_from} describes" if device.built_from else "This is"
            raise ConfigError(
                f"{self._where} says with which device number {number} seed {seed} was measured. {name} another "
                f"one now; recorded, and now: {in_words(different)}. Set that back; to measure with the device as "
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
