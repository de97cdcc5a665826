"""The promise about tunables: within limits, at rest when closed, settled when written, and the same again."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from hwloop.conformance.crossover import TEST, Crossover, confirmed, crossover
from hwloop.conformance.examination import Examination, promise
from hwloop.conformance.guard import Guard
from hwloop.conformance.lifecycle import steps_compared
from hwloop.conformance.report import Finding, Undecided, failed, note, passed
from hwloop.device import Device
from hwloop.device.hold import hold_of
from hwloop.device.spec import Float64Array
from hwloop.device.tuning import assert_again
from hwloop.errors import HwloopError, LimitError, StimulusError
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import moderate

BEYOND = 0.1  # of the range: how far outside the limits a tuning lies that must be refused
LEAST_WAIT, LONGEST_WAIT = 0.05, 1.0  # seconds after a write until the response counts as settled
TIMES_SETTLING = 5.0
TOLERATED = 0.01  # of an output's span


@promise(
    "tunables",
    "tunings are refused out of limits, reach the physics, settle, come back, and end at rest",
    rows=(3 * 4 + 6) * PAIRS,  # four comparisons, each twice where it is suspicious
    applies_to=lambda spec: bool(spec.tunables),
)
def tunables(examination: Examination) -> Finding | Undecided:
    """What ``DeviceSpec.tunables`` promises; what is dangerous first; of the comparisons the worst counts."""
    spec = examination.spec
    if not spec.tunables:
        return note("the device has no tunables")
    tunables.require_rows(examination)
    rng = examination.rng("tunables")
    one, other = (spec.nearest_tuning(rng.uniform(spec.tunable_low, spec.tunable_high)) for _ in range(2))
    try:
        unsafe = _unsafe(examination, one)
        return _compared(examination, one, other, rng) if unsafe is None else unsafe
    finally:
        examination.session.tune(spec.tunable_rest)


def _unsafe(examination: Examination, tuning: Float64Array) -> Finding | None:
    """What could harm the device, if anything is found: looked for before any tuning is compared."""
    examination.open()
    for guard in examination.guards:
        finding = _goes_round(guard.device) or _takes_too_much(examination, guard.device)
        if finding is not None:
            return finding
    try:
        examination.tune(tuning)
    except (StimulusError, LimitError) as error:
        return failed(f"a tuning within the limits is refused: {error}", "let the spec's tunables be those inside")
    for guard in _leaves(examination):
        missed = bool(guard.device.spec.tunables) and not guard.tunings
        if missed or (guard.tunings and not np.array_equal(guard.tunings[-1], tuning)):
            return failed(
                f"{type(guard.device).__name__}, inside, gets another tuning than was asked for, or none",
                "in the wrapper's _tune() call self.device.tune(values)",
            )
    examination.close()
    if breaches := [breach for guard in examination.guards for breach in guard.breaches]:
        return failed(breaches[0], "call tune() of the device inside, never its _tune()")
    for guard in _leaves(examination):
        if guard.tunings and not np.array_equal(guard.tunings[-1], guard.device.spec.tunable_rest):
            return failed(
                f"the tunables of {type(guard.device).__name__} are not at rest when it is closed",
                "in the wrapper call tune() and close() of the device inside",
            )
    return None


def _goes_round(device: Device) -> Finding | None:
    own = "tune" in vars(device) or inspect.getattr_static(type(device), "tune") is not vars(Device)["tune"]
    if not own:
        return None
    return failed(
        f"{type(device).__name__} replaces tune(), which holds the checks", "write _tune(), and leave tune() alone"
    )


def _takes_too_much(examination: Examination, device: Device) -> Finding | None:
    """Whether it takes a tuning out of its limits; the guard lets none reach the hardware."""
    spec = device.spec
    values = spec.tunable_rest.copy()
    values[0] = spec.tunable_high[0] + BEYOND * (spec.tunable_high[0] - spec.tunable_low[0])
    try:
        examination.bounded("tune()", lambda: device.tune(values))
    except LimitError:
        return None
    except HwloopError as error:
        return failed(f"a tuning out of limits ends in another error: {error}", "leave tune() alone")
    return failed(
        f"{type(device).__name__} takes a tuning of {values[0]:g} beyond the limit of {spec.tunable_high[0]:g}",
        "write _tune(), and leave tune() alone: it refuses what is out of limits",
    )


def _leaves(examination: Examination) -> list[Guard]:
    return [guard for guard in examination.guards if guard.installed and not guard.device.hands_tuning_on]


def _compared(
    examination: Examination, one: Float64Array, other: Float64Array, rng: np.random.Generator
) -> Finding | Undecided:
    probe, survey, resting = moderate(examination.spec, 1, rng), examination.survey, examination.spec.tunable_rest
    wait = min(LONGEST_WAIT, max(LEAST_WAIT, TIMES_SETTLING * _settling_seconds(examination)))

    def answered(*tunings: Float64Array, waits: bool = True) -> Float64Array:
        """The answer under the last of some tunings that are written one after the other."""
        for tuning in tunings:
            examination.tune(tuning)
        if waits:
            _wait(wait)
        return examination.answered(probe)

    def steps(early: int) -> list[Float64Array]:
        """How far the answer moved where the same values were written again, and where they were not."""
        answers = []
        for gap in (None, 1, 0):
            if gap == early:
                examination.bounded("tune()", partial(_write_again, examination))
                _wait(wait)
            answers.append(examination.answered(probe))
        moved = [answers[1] - answers[0], answers[2] - answers[1]]
        return moved if early else moved[::-1]

    def written_again() -> Crossover:
        examination.tune(one)
        return steps_compared(np.array([steps(early) for early in rng.integers(2, size=PAIRS)]), survey)

    matters = crossover(partial(answered, resting), partial(answered, one), survey, rng)
    if matters.p_value > TOLERATED:
        matters = crossover(partial(answered, other), partial(answered, one), survey, rng)
    if matters.p_value > TOLERATED:
        return failed(
            "no tuning changes the response, as far as the noise lets see",
            "check that _tune() reaches the hardware, or that the physics reads self.tuning",
            tuning_matters_p_value=matters.p_value,
        )
    compare: Callable[..., Crossover] = partial(crossover, survey=survey, rng=rng)
    found = {
        "the response right behind a write is not the settled one": (
            compare(partial(answered, resting, one), partial(answered, resting, one, waits=False)),
            "state settling_seconds as long as the response moves, or let _tune() return later",
        ),
        "the response under a tuning depends on the tuning before": (
            compare(partial(answered, resting, one), partial(answered, other, one)),
            "approach a value always from the same side in _tune(), or read it back and correct it",
        ),
        "writing the same values once more changes the response": (
            confirmed(written_again),
            "let _tune() write values, not changes",
        ),
    }
    worst = min(found, key=lambda what: (found[what][0].effect_of_span <= TOLERATED, found[what][0].p_value))
    worse, advice = found[worst]
    numbers = {
        "effect_percent_of_span": 100 * matters.effect_of_span,
        **{
            f"{name}_percent_of_span": 100 * each.effect_of_span
            for name, (each, _) in zip(NAMES, found.values(), strict=True)
        },
    }
    return Undecided(
        broken=failed(f"{worst} (by {100 * worse.effect_of_span:.2g} % of the span)", advice, **numbers),
        kept=passed(
            f"a tuning moves the response by {100 * matters.effect_of_span:.2g} % of the span, and comes back",
            **numbers,
        ),
        test=TEST,
        p_value=min(1.0, len(found) * worse.p_value),
        matters=worse.effect_of_span > TOLERATED,
    )


NAMES = ("unsettled", "history", "written_again")


def _wait(seconds: float) -> None:
    time.sleep(seconds)


def _settling_seconds(examination: Examination) -> float:
    return max(each.settling_seconds for each in examination.spec.tunables)


def _write_again(examination: Examination) -> None:
    for guard in _leaves(examination):
        assert_again(guard.device, hold_of(guard.device))
