"""Whether what an instrument reads back is what it was told."""

from __future__ import annotations

import math

RELATIVE = 1e-3  # of a value whose instrument states no step
OF_THE_SPAN = 0.01  # a step that was read off a reply is not coarser than this
SHORTEST_KEYWORD = 3


def numbers_agree(asked: float, answered: float, answer: str, resolution: float, span: float) -> bool:
    """Within half a step.

    Parameters
    ----------
    asked, answered
        The two values, in the command's unit.
    answer
        The reply's text: its last digit that is not 0 shows the step of an instrument that states none.
    resolution
        The step, 0 where none is stated.
    span
        Between the command's limits, 0 where there are none.
    """
    difference = abs(asked - answered)
    rounding = 1e-9 * max(abs(asked), abs(answered)) + 1e-12
    if resolution:
        return difference <= resolution / 2 + rounding
    if math.isclose(asked, answered, rel_tol=RELATIVE, abs_tol=1e-12):
        return True
    coarse = OF_THE_SPAN * (span or abs(asked))
    return difference <= min(_last_digit(answer) / 2, coarse) + rounding


def _last_digit(answer: str) -> float:
    """The worth of the last digit of a number's text that is not a 0 behind its point."""
    mantissa, _, exponent = answer.strip().upper().partition("E")
    whole, _, decimals = mantissa.partition(".")
    kept = decimals.rstrip("0")
    power = int(exponent or 0)
    if kept:
        return float(10.0 ** (power - len(kept)))
    figures = whole.lstrip("+-")
    return float(10.0 ** (power + len(figures) - len(figures.rstrip("0")))) if figures.strip("0") else 10.0**power


def same_keyword(asked: str, answered: str) -> bool:
    """A keyword in its short form agrees with its long one."""
    short, answer = asked.upper(), answered.upper()
    longer = answer.removeprefix(short)
    return answer == short or (
        len(short) >= SHORTEST_KEYWORD and longer != answer and longer.isalpha() and not short[-1].isdigit()
    )
