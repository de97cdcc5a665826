"""Accounts for a session's cost: rows by purpose, budget, forecast, duty cycle, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hwloop.errors import BudgetExceeded, ConfigError

RUN_PURPOSES = ("train", "evaluate", "calibrate", "reference", "repeat")  # of an experiment, from training to test
PURPOSES = (*RUN_PURPOSES, "adapt")


@dataclass
class Ledger:
    """Rows measured, recalled from memory or reused from earlier runs, and device seconds, by purpose.

    ``ledger["train"]`` is the number of rows measured for training. ``writes`` counts the writes of tunables that
    the rows of a purpose needed, and ``write_seconds`` their time.
    """

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0))
    recalled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0))
    reused: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0))
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0.0))
    writes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0))
    write_seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0.0))
    # Busy and wall time of the measuring phases that are over; a phase spans from the first row of a job that
    # asks for a duty cycle to the last.
    _phase_busy_seconds: float = 0.0
    _phase_wall_seconds: float = 0.0

    def __getitem__(self, purpose: str) -> int:
        return self.rows[purpose]

    @property
    def total(self) -> int:
        """Rows measured for any purpose."""
        return sum(self.rows.values())

    @property
    def busy_seconds(self) -> float:
        """Time that the device spent measuring, for any purpose."""
        return sum(self.seconds.values())

    @property
    def duty_cycle(self) -> float | None:
        """Device busy time over wall time of the measuring phases; ``None`` before anything was measured."""
        if self._phase_wall_seconds <= 0:
            return None
        return min(1.0, self._phase_busy_seconds / self._phase_wall_seconds)

    @property
    def row_seconds(self) -> float | None:
        """Mean time of a row as measured so far; ``None`` before the first row."""
        return self.busy_seconds / self.total if self.total else None

    def count_measured(self, purpose: str, rows: int, seconds: float) -> None:
        """Enter rows that the device answered."""
        self.rows[purpose] += rows
        self.seconds[purpose] += seconds

    @property
    def total_writes(self) -> int:
        """Writes of tunables for any purpose."""
        return sum(self.writes.values())

    @property
    def seconds_a_write(self) -> float | None:
        """Mean time of a write as measured so far; ``None`` before the first."""
        return sum(self.write_seconds.values()) / self.total_writes if self.total_writes else None

    def count_writes(self, purpose: str, writes: int, seconds: float) -> None:
        """Enter writes of tunables."""
        self.writes[purpose] += writes
        self.write_seconds[purpose] += seconds

    def count_recalled(self, purpose: str, rows: int) -> None:
        """Enter rows that were known already and not measured again."""
        self.recalled[purpose] += rows

    def count_reused(self, purpose: str, rows: int) -> None:
        """Enter rows that an earlier run had measured."""
        self.reused[purpose] += rows

    def count_phase(self, busy_seconds: float, wall_seconds: float) -> None:
        """Enter a measuring phase that is over."""
        self._phase_busy_seconds += busy_seconds
        self._phase_wall_seconds += wall_seconds


class MeasuringPhase:
    """The time between the first and the last row of a measuring phase."""

    def __init__(self) -> None:
        self.busy_seconds = 0.0
        self._begin: float | None = None
        self._end = 0.0

    def extend(self, begin: float, end: float) -> None:
        """Enter a block that began and ended at these times in seconds."""
        self._begin = begin if self._begin is None else self._begin
        self._end = end
        self.busy_seconds += end - begin

    @property
    def wall_seconds(self) -> float:
        """Time from the first block's begin to the last one's end."""
        return 0.0 if self._begin is None else self._end - self._begin


@dataclass(frozen=True)
class Forecast:
    """Rows still to be measured, the device's time in seconds, if it is known, and writes of tunables."""

    rows: int
    seconds: float | None = None
    writes: int = 0

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        if self.writes:
            rows += f" and {self.writes:,} write{'' if self.writes == 1 else 's'}"
        return rows if self.seconds is None else f"{rows}, about {readable_time(self.seconds)}"


def readable_time(seconds: float) -> str:
    """A time as a person says it: ``0.4 s``, ``41 min``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass
class Budget:
    """Rows that may be measured and writes of tunables that may be made, over all purposes; ``None``: no limit.

    Raises
    ------
    ConfigError
        ``rows`` or ``writes`` is no whole number of at least 0.
    """

    rows: int | None
    ledger: Ledger
    writes: int | None = None

    def __post_init__(self) -> None:
        if self.writes is not None and not (is_whole(self.writes) and self.writes >= 0):
            raise ConfigError(f"the budget of writes must be a whole number of writes, not {self.writes!r}")
        if self.rows is not None and not (is_whole(self.rows) and self.rows >= 0):
            raise ConfigError(f"the budget must be a whole number of rows, not {self.rows!r}")

    @property
    def left(self) -> int | None:
        """Rows that it still covers."""
        return None if self.rows is None else self.rows - self.ledger.total

    @property
    def writes_left(self) -> int | None:
        """Writes that it still covers."""
        return None if self.writes is None else self.writes - self.ledger.total_writes

    def require(self, forecast: Forecast) -> None:
        """Refuse a plan that it does not cover.

        Raises
        ------
        BudgetExceeded
        """
        left = self.left
        if left is not None and forecast.rows > left:
            raise BudgetExceeded(
                f"this needs {forecast}, but the budget of {self.rows:,} rows leaves {left:,}; "
                f"give a budget of at least {self.ledger.total + forecast.rows:,} rows, or ask for fewer"
            )
        writes = self.writes_left
        if writes is not None and forecast.writes > writes:
            raise BudgetExceeded(
                f"this needs {forecast}, but the budget of {self.writes:,} writes of tunables leaves {writes:,}; "
                f"give one of at least {self.ledger.total_writes + forecast.writes:,} writes, or ask for fewer"
            )

    def check(self, rows: int) -> None:
        """Refuse rows that are about to be measured and that it does not cover.

        Raises
        ------
        BudgetExceeded
        """
        left = self.left
        if left is not None and rows > left:
            raise BudgetExceeded(
                f"{rows:,} rows were about to be measured, but the budget of {self.rows:,} rows leaves "
                f"{left:,}; what was measured so far is kept. Give a larger budget to go on"
            )

    def check_writes(self, writes: int) -> None:
        """Refuse writes of tunables that are about to be made and that it does not cover.

        Raises
        ------
        BudgetExceeded
        """
        left = self.writes_left
        if left is not None and writes > left:
            raise BudgetExceeded(
                f"{writes:,} write{'' if writes == 1 else 's'} of tunables were about to be made, but the "
                f"budget of {self.writes:,} writes leaves {left:,}; what was measured so far is kept. Give a "
                "larger one to go on"
            )


def is_whole(number: Any) -> bool:
    """Whether this is a whole number, of whatever numeric type; ``True`` is none."""
    try:
        return not isinstance(number, bool) and bool(number == int(number))
    except (TypeError, ValueError, OverflowError):
        return False


@dataclass(frozen=True)
class Place:
    """How far a session has come in its journal, and what it has counted till then.

    Attributes
    ----------
    rows
        Rows of the journal that lie behind it.
    settings
        Fingerprint of the device that answered them.
    measured, recalled, reused
        Rows by purpose, as its ledger counts them.
    writes
        Writes of tunables by purpose.
    """

    rows: int
    settings: str
    measured: Mapping[str, int]
    recalled: Mapping[str, int]
    reused: Mapping[str, int]
    writes: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; writes only where there were some."""
        writes = {"writes": dict(self.writes)} if any(self.writes.values()) else {}
        return {
            "rows": self.rows,
            "settings": self.settings,
            "measured": dict(self.measured),
            "recalled": dict(self.recalled),
            "reused": dict(self.reused),
            **writes,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Place:
        """What :meth:`as_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
        """
        named = (found["measured"], found["recalled"], found["reused"], found.get("writes", {}))
        counts = [{str(k): int(v) for k, v in each.items()} for each in named]
        return cls(int(found["rows"]), str(found["settings"]), *counts)
