"""How a row budget is spent: least, default, and the parts of a calibration."""

from __future__ import annotations

from dataclasses import dataclass

from hwloop.calibration.tunables import tunable_rows
from hwloop.device import DeviceSpec
from hwloop.errors import BudgetExceeded, ConfigError

LEVELS = (17, 9, 5)  # tried in this order; odd, so that mid-range is one of them
LEAST_VISITS = 3  # of every level
DEFAULT_ROWS = 4800  # of the main part: noise to 1 % (standard error), gains of an ordinary instrument to 0.05 %
SWEPT_INPUTS = 16
SWEEP_LEVELS = 9
LONGEST_CALL = 128
BLOCK_ROWS = 256  # what the session sends in one call at most
BLOCK_SECONDS = 0.25
REFERENCE_SHARE = 0.2
REFERENCE_ROUNDS = 3
LEAST_DWELL = 6
LONGEST_DWELL = 34


@dataclass(frozen=True)
class Plan:
    """Rows of each part.

    Attributes
    ----------
    pilot
        The pilot measurement: steps between two stimuli, and each input by itself, to see how long a row is
        remembered, and which output belongs to which input.
    main
        Levels, or single inputs, in random order, and the reference rows between them.
    call_sizes
        Sizes of the calls in which the reference stimuli are sent, in no particular order.
    step_rows, steps
        Length and number of the steps of the pilot.
    tunables
        Rows under tunings other than rest, and between them; 0 where there are none.
    """

    pilot: int
    main: int
    call_sizes: tuple[int, ...]
    steps: int
    step_rows: int
    tunables: int = 0

    @property
    def rows(self) -> int:
        """All rows."""
        return self.pilot + self.main + self.tunables

    @property
    def reference(self) -> int:
        """Rows of the main part that hold a reference stimulus."""
        return sum(self.call_sizes)


def plan_rows(spec: DeviceSpec, budget: int | None = None) -> Plan:
    """Divide a budget, or the default one.

    Raises
    ------
    BudgetExceeded
        The budget is smaller than :func:`least_rows`; nothing has been measured.
    """
    if spec.streams:
        raise ConfigError(
            "the device's state goes on from row to row, and a calibration is of rows that stand by themselves; "
            "calibrate it as it answers without a stream"
        )
    least = least_rows(spec)
    if budget is not None and budget < least:
        raise BudgetExceeded(
            f"calibrating {spec.n_inputs} inputs and {spec.n_outputs} outputs needs at least {least:,} rows, but "
            f"the budget is {budget:,}; nothing was measured. Give --budget {least} or more, or leave it out for "
            f"{default_rows(spec):,} rows and narrow intervals"
        )
    rows = default_rows(spec) if budget is None else budget
    # A small budget still looks first, with fewer and shorter steps.
    steps, step_rows = (8, 24) if rows - tunable_rows(spec) >= 8 * (8 * 24 + singles(spec)) else (6, 8)
    pilot = steps * step_rows + singles(spec)
    tunables = tunable_rows(spec)
    main = rows - pilot - tunables
    return Plan(pilot, main, call_sizes(spec, main), steps, step_rows, tunables)


def least_rows(spec: DeviceSpec) -> int:
    """The smallest budget that gives every figure an interval."""
    return tunable_rows(spec) + 6 * 8 + singles(spec) + max(_least_paired(spec), _least_mixing(spec))


def default_rows(spec: DeviceSpec) -> int:
    """Rows without a budget: intervals that a physicist would call narrow."""
    main = max(DEFAULT_ROWS, 30 * (spec.n_inputs + 35), 12 * spec.n_inputs)
    return tunable_rows(spec) + 8 * 24 + singles(spec) + main


def singles(spec: DeviceSpec) -> int:
    """Rows that move one input at a time, to see whether each has an output of its own; 0 where that cannot be."""
    return 3 * (spec.n_inputs + 1) if spec.n_inputs == spec.n_outputs else 0


def _least_paired(spec: DeviceSpec) -> int:
    references = sum(call_sizes(spec, 150))
    return references + max(LEAST_VISITS * LEVELS[-1] * LEAST_DWELL, 3 * (spec.n_inputs + 20))


def _least_mixing(spec: DeviceSpec) -> int:
    swept = min(SWEPT_INPUTS, spec.n_inputs)
    return sum(call_sizes(spec, 150)) + 4 * spec.n_inputs + 2 * swept * SWEEP_LEVELS


def longest_call(spec: DeviceSpec) -> int:
    """Rows that one call of the driver carries at most, as the session would send them."""
    rows = min(spec.max_rows or BLOCK_ROWS, LONGEST_CALL)
    if spec.row_seconds:
        rows = min(rows, max(1, int(BLOCK_SECONDS / spec.row_seconds)))
    return rows


def call_sizes(spec: DeviceSpec, main: int) -> tuple[int, ...]:
    """1, 2, 4, ... rows a call, each some times, within a fifth of the main part."""
    sizes = [1]
    longest = longest_call(spec)
    while 2 * sizes[-1] <= longest and REFERENCE_ROUNDS * (4 * sizes[-1] - 1 + 2 * 1) <= REFERENCE_SHARE * main:
        sizes.append(2 * sizes[-1])
    rounds = REFERENCE_ROUNDS
    while rounds < 12 and (rounds + 1) * sum(sizes) <= REFERENCE_SHARE * main:
        rounds += 1
    return tuple(sizes * rounds)


def number_of_levels(rows: int, hold: int) -> int:
    """The finest grid of levels of which each is held often enough."""
    enough = (levels for levels in LEVELS if rows >= levels * LEAST_VISITS * 2 * hold)
    return next(enough, LEVELS[-1])
