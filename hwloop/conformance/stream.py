"""The promise of a device that streams: its state goes on from row to row, and a reset ends that."""

from __future__ import annotations

from functools import partial

import numpy as np

from hwloop.conformance.crossover import TEST, crossover
from hwloop.conformance.examination import Examination, promise
from hwloop.conformance.report import Finding, Undecided, failed, note, passed
from hwloop.device.spec import Float64Array
from hwloop.probing.statistics import PAIRS
from hwloop.probing.stimuli import moderate

PAST = 2  # rows, which differ, before the one that is compared
FORGOTTEN = 0.05  # of an output's span may be left of what was before a reset


@promise(
    "stream",
    "a reset brings the device to rest, and without one its state goes on",
    rows=8 * (PAST + 1) * PAIRS,  # two comparisons, each twice where it is suspicious
    applies_to=lambda spec: spec.streams,
)
def stream(examination: Examination) -> Finding | Undecided:
    """The same row behind two different pasts: answered alike behind a reset, and else not."""
    spec = examination.spec
    if not spec.streams:
        return note("the device does not stream: every row stands by itself")
    stream.require_rows(examination)
    rng = examination.rng("stream")
    pasts, last = [moderate(spec, PAST, rng) for _ in range(2)], moderate(spec, 1, rng)

    def behind(past: Float64Array, reset: bool) -> Float64Array:
        """The answer to the last row behind a past, shape (1, n_outputs)."""
        rows = np.concatenate([past, last])
        rows[:, -1] = spec.low[-1]
        rows[0, -1] = spec.high[-1]
        rows[-1, -1] = spec.high[-1] if reset else spec.low[-1]
        return examination.measure(rows)[-1:]

    forgets, goes_on = (
        crossover(partial(behind, pasts[0], reset), partial(behind, pasts[1], reset), examination.survey, rng)
        for reset in (True, False)
    )
    numbers = {
        "left_behind_a_reset_percent_of_span": 100 * forgets.effect_of_span,
        "goes_on_percent_of_span": 100 * goes_on.effect_of_span,
    }
    if goes_on.p_value > 0.05:
        return note(
            "nothing of the rows before is seen in a row's answer: no memory, or less than the noise",
            "leave streams away if the device has no memory; it costs every reuse of rows",
            **numbers,
        )
    return Undecided(
        broken=failed(
            f"{100 * forgets.effect_of_span:.2g} % of the span is left of the rows before a reset",
            "let the reset bring the physics to rest: wait for it, or drive it there",
            **numbers,
        ),
        kept=passed("a reset ends what goes on without one", **numbers),
        test=TEST,
        p_value=forgets.p_value,
        matters=forgets.effect_of_span > FORGOTTEN,
    )
