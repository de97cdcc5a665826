"""The promise about nudges: they push on what the outputs read, and pushes are answered both ways alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from hwloop.conformance.crossover import TEST, Crossover, confirmed, crossover
from hwloop.conformance.examination import Examination, promise
from hwloop.conformance.report import Finding, Undecided, failed, note, passed
from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import PAIRS, sign_flip_p_value
from hwloop.probing.stimuli import rest

SIZE = 0.1  # share of the limits: small enough that most devices hardly bend
ONE_WAY = 0.2  # of the response to a push is tolerated: nudges of a finite size are not quite reciprocal
UNLIKE = 0.05  # of an output's span is tolerated between drives and nudges
ADVICE = (
    "put outputs, drives and nudges in the order that DeviceSpec.n_nudges asks for, with equal forces a unit and "
    "equal gains; where the physics is not reciprocal, leave n_nudges at 0"
)


@promise(
    "nudges",
    "nudges push as drives do, and pushes are answered both ways alike",
    rows=10 * PAIRS,  # pushes by drives and by nudges, and two pushes back and forth, twice
    applies_to=lambda spec: spec.n_nudges > 0,
)
def nudges(examination: Examination) -> Finding | Undecided:
    """A device whose spec has nudges keeps what ``DeviceSpec.n_nudges`` promises; ``eqprop`` learns from it.

    The worse of two comparisons counts.
    """
    if not examination.spec.n_nudges:
        return note("the device has no nudges: eqprop cannot train through it")
    nudges.require_rows(examination)
    rng = examination.rng("nudges")
    by_drives, by_nudges = (partial(examination.measure, push) for push in _equal_pushes(examination.spec, rng))
    alike = crossover(by_drives, by_nudges, examination.survey, rng)
    both_ways = confirmed(lambda: _reciprocity(examination, rng))
    found = [
        (alike, UNLIKE, "the same push by drives and by the nudges beside them is answered otherwise"),
        (both_ways, ONE_WAY, "what a push at one place does at another, the same push there does not do here"),
    ]
    worse, tolerated, broken = min(found, key=lambda one: (one[0].effect_of_span <= one[1], one[0].p_value))
    numbers = {
        "drives_against_nudges_percent_of_span": 100 * alike.effect_of_span,
        "one_way_percent_of_response": 100 * both_ways.effect_of_span,
    }
    return Undecided(
        broken=failed(f"{broken} (by {100 * worse.effect_of_span:.2g} %)", ADVICE, **numbers),
        kept=passed(nudges.question, **numbers),
        test=TEST,
        p_value=min(1.0, len(found) * worse.p_value),
        matters=worse.effect_of_span > tolerated,
    )


def _room(spec: DeviceSpec) -> Float64Array:
    """How large a nudge may be both ways, shape (n_nudges,)."""
    return np.asarray(SIZE * np.minimum(spec.high, -spec.low)[spec.n_drives :])


def _equal_pushes(spec: DeviceSpec, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """A random push on what the drives push on, by drives and by nudges, each of shape (1, n_inputs)."""
    drives, start = spec.n_drives, rest(spec)
    room = np.minimum(spec.high[:drives] - start[0, :drives], spec.high[drives : 2 * drives])
    push = rng.uniform(0.4, 0.8, drives) * room
    by_drives, by_nudges = start.copy(), start.copy()
    by_drives[0, :drives] += push
    by_nudges[0, drives : 2 * drives] += push
    return by_drives, by_nudges


def _reciprocity(examination: Examination, rng: np.random.Generator) -> Crossover:
    """How far v (D u) and u (D v) are apart, D u what nudges u do to the outputs, for random u and v.

    Every difference is measured twice. Of a reciprocal device both measurements have nothing but noise in them,
    and their product is as likely to be negative as positive.
    """
    spec = examination.spec
    room, start = _room(spec), rest(spec)

    def answered(push: Float64Array, along: Float64Array) -> float:
        rows = np.repeat(start, 2, axis=0)
        rows[0, spec.n_drives :] += push
        rows[1, spec.n_drives :] -= push
        there, back = examination.measure(rows)
        return float((there - back) @ along)

    def one_measurement(one: Float64Array, other: Float64Array) -> tuple[float, float]:
        """Difference and mean of the two, in an order drawn by lot."""
        ways: list[Callable[[], float]] = [partial(answered, one, other), partial(answered, other, one)]
        swapped = bool(rng.integers(2))
        first, second = (way() for way in (ways[::-1] if swapped else ways))
        return (second - first) * (-1 if swapped else 1), (first + second) / 2

    products, powers = [], []
    for _ in range(PAIRS):
        one, other = room * rng.choice([-1.0, 1.0], (2, spec.n_nudges))
        (difference, mean), (again, mean_again) = (one_measurement(one, other) for _ in range(2))
        products.append(difference * again)
        powers.append(mean * mean_again)
    odd, power = float(np.mean(products)), float(np.mean(powers))
    share = np.sqrt(max(0.0, odd) / power) if power > 0 else 0.0
    scale = np.abs(products).max() or 1.0
    return Crossover(sign_flip_p_value(np.array(products)[:, None] / scale), float(share), 0.0)
