"""What a drift run has finished, on disk after every policy of every seed: a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from hwloop.device import DeviceDescription
from hwloop.experiments.finished_lines import DEVICES, FinishedLines

SETTINGS, COURSES, ROWS = "drift-settings.json", "courses.jsonl", "rows"


@dataclass(frozen=True)
class SeedCourse:
    """How one policy fared on one seed.

    Attributes
    ----------
    accuracy, rows, drift
        One a position; a drift that was not looked for is ``None``.
    correlation
        Of the responses at each position with the first.
    """

    uses_model: bool
    accuracy: list[float]
    rows: list[int]
    drift: list[float | None]
    correlation: list[float]

    def __post_init__(self) -> None:
        if len({len(part) for part in (self.accuracy, self.rows, self.drift, self.correlation)}) != 1:
            raise ValueError("a course has an accuracy, rows, a drift and a correlation at each position")


class CourseStore:
    """Finished courses of a drift run's folder, see :class:`hwloop.experiments.finished_lines.FinishedLines`.

    More policies and seeds may join; everything else must be as it was.

    Raises
    ------
    ConfigError
        The folder holds a drift run with other settings, or something else.
    JournalError
        Another process is writing it.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], devices: Sequence[DeviceDescription] = ()
    ) -> None:
        files = (SETTINGS, COURSES)
        self._lines = FinishedLines(
            folder, "drift run", files, settings, _decides, lambda line: SeedCourse(**line["course"]), devices
        )

    @property
    def rows_folder(self) -> Path:
        """Where the rows of each seed are kept."""
        return self._lines.folder.absolute() / ROWS

    def find(self, policy: str, seed: int) -> SeedCourse | None:
        """A course, if it is finished."""
        return self._lines.find(_key(policy, seed))

    def keep(self, policy: str, seed: int, course: SeedCourse) -> None:
        """Write a finished course down."""
        line = {"policy": policy, "seed": seed, "course": asdict(course)}
        self._lines.keep(_key(policy, seed), course, line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__()


def _key(policy: str, seed: int) -> str:
    return f"{policy} seed {seed}"


def _decides(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a course depends on beside its policy and seed."""
    deciding = {key: value for key, value in settings.items() if key not in ("policies", DEVICES)}
    experiment = {**settings.get("experiment", {})}
    for key in ("seeds", "name", "description"):
        experiment.pop(key, None)
    return deciding | {"experiment": experiment}
