"""What each tunable does, and how well a tuning comes back: set low, set high, and set to rest again."""

from __future__ import annotations

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.base import is_simulated
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import Estimate, quantile, stacked
from hwloop.probing.stimuli import moderate
from hwloop.probing.timing import TimedSession

PROBES, ROUNDS, STATES = 4, 5, 6
LEAST_WAIT, LONGEST_WAIT, TIMES_SETTLING = 0.05, 1.0, 5.0
NAMES = ("tunable_effect", "tunable_return", "tunable_unsettled")


def tunable_rows(spec: DeviceSpec) -> int:
    """Rows that looking at the tunables takes; 0 where there are none."""
    return len(spec.tunables) * ROUNDS * STATES * PROBES


def measure_tunables(timed: TimedSession, rng: np.random.Generator) -> dict[str, Estimate]:
    """Figures with an entry a tunable, all its values moved together; empty where there are none.

    Each is the root mean square of a change over that of the responses' spread, with the noise taken off that two
    measurements without a write between them show.
    """
    spec = timed.session.device.spec
    if not spec.tunables:
        return {}
    probe = moderate(spec, PROBES, rng)
    found = [_of_one(timed, probe, name.name) for name in spec.tunables]
    return {name: stacked([each[number] for each in found]) for number, name in enumerate(NAMES)}


def _of_one(timed: TimedSession, probe: Float64Array, name: str) -> list[Estimate]:
    session = timed.session
    spec = session.device.spec
    low, high = (
        spec.nearest_tuning({name: spec.named_tuning(end)[name]}) for end in (spec.tunable_low, spec.tunable_high)
    )
    wait = 0.0
    if not is_simulated(session.device):
        settling = max(each.settling_seconds for each in spec.tunables)
        wait = min(LONGEST_WAIT, max(LEAST_WAIT, TIMES_SETTLING * settling))

    def answered(tuning: Float64Array) -> Float64Array:
        return timed.measure(probe, tuning=tuning)

    changes, noise, spread = [], [], []
    for _ in range(ROUNDS):
        before, again = answered(spec.tunable_rest), answered(spec.tunable_rest)
        down, at_once = answered(low), answered(high)
        timed.clock.sleep(wait)
        up = answered(high)
        back = answered(spec.tunable_rest)
        changes.append([_square(up - down), _square(back - before), _square(up - at_once)])
        noise.append(_square(again - before))
        spread.append(_square(before - before.mean(axis=0)))
    scale = float(np.mean(spread))
    if not scale > 0:
        return [Estimate(*np.full((3,), np.nan))] * len(NAMES)
    squares = (np.array(changes) - np.array(noise)[:, None]) / scale
    reach = quantile(ROUNDS - 1) * squares.std(axis=0, ddof=1) / np.sqrt(ROUNDS)
    return [Estimate.root(square, far) for square, far in zip(squares.mean(axis=0), reach, strict=True)]


def _square(difference: Float64Array) -> float:
    return float(np.mean(difference**2))
