"""Promises about ranges: nothing beyond the limits gets in, outputs have room, signs are told apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from hwloop.conformance.examination import Examination, promise
from hwloop.conformance.guard import overrides_measure
from hwloop.conformance.report import Finding, failed, note, passed
from hwloop.conformance.survey import REPEATS, STIMULI, ResponseSurvey
from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import HwloopError, LimitError, StimulusError
from hwloop.probing.statistics import label_p_value
from hwloop.probing.stimuli import middle, moderate

CHANNELS = 3  # on which values beyond the limits are tried
SATURATED, NOTABLE = 0.6, 0.05  # shares of readings at an end of the range
FEW_LEVELS = 4
SWAPS = 4000
SEEN = 1e-3
WEAK = 0.01  # share of the response's power
SIGN_ADVICE = (
    "give the stages a reference slot, a constant beside the data that interferes with them (hwloop does so by "
    "default where the limits have both signs; network.reference_slots sets it)"
)


@promise("limits", "nothing beyond the limits reaches the driver", rows=3)
def limits(examination: Examination) -> Finding:
    """Stimuli beyond the limits are refused before the driver sees them, in every wrapper.

    Nothing beyond the limits is ever sent on trust: a device whose ``measure`` is not the one with the checks is
    not tried, and a guard stands before every driver. First the code, then refusals, then the corners that are
    allowed.
    """
    for guard in examination.guards:
        if overrides_measure(guard.device):
            name = type(guard.device).__name__
            return failed(
                f"{name} replaces measure(), which holds the checks; nothing beyond the limits was tried",
                "write _measure() instead, and in a wrapper call measure() of the device inside",
                device=name,
            )
    limits.require_rows(examination)
    tried = 0
    if examination.guard.installed:
        for what, stimuli in _forbidden(examination.spec):
            tried += 1
            problem = _problem(examination, stimuli)
            if problem:
                return failed(f"{what} is not refused: {problem}", "leave measure() as it is", tried=tried)
    return _corners(examination, tried)


def _corners(examination: Examination, tried: int) -> Finding:
    spec = examination.spec
    rng = examination.rng("limits")
    mixed = np.where(rng.random(spec.n_inputs) < 0.5, spec.low, spec.high)
    for corner in (moderate(spec, 1, rng), spec.low[None], spec.high[None], mixed[None]):
        try:
            examination.measure(corner)
        except LimitError as error:
            breaches = [breach for guard in examination.guards for breach in guard.breaches]
            if breaches:
                return failed(
                    f"a wrapper goes round measure() of the device inside: {breaches[0]}",
                    "in the wrapper call self.device.measure(), never _measure()",
                    breaches=len(breaches),
                )
            return failed(
                f"the spec allows a stimulus that the device inside refuses: {error}",
                "give the wrapper a spec whose limits hold after what it does to a stimulus",
            )
    where = "" if examination.guard.installed else " (its class has __slots__, so its code alone was judged)"
    return passed(
        f"{tried} forbidden stimuli refused, corners accepted{where}",
        refused=tried,
        devices_in_chain=len(examination.guards),
    )


def _forbidden(spec: DeviceSpec) -> Iterator[tuple[str, Any]]:
    """Stimuli that must be refused, and what they are."""
    base = middle(spec)[None]
    for channel in np.unique(np.linspace(0, spec.n_inputs - 1, CHANNELS).astype(int)):
        low, high = spec.low[channel], spec.high[channel]
        values = {
            "a value just above the limit": np.nextafter(high, np.inf),
            "a value just below the limit": np.nextafter(low, -np.inf),
            "a value far above the limit": high + (high - low),
            "NaN": np.nan,
            "infinity": np.inf,
        }
        for what, value in values.items():
            yield f"{what} on channel {channel}", _with(base, int(channel), float(value))
    yield "a row with a channel too many", np.concatenate([base, base[:, :1]], axis=1)
    yield "a row without its batch axis", base[0]
    yield "a row of complex numbers", base + 0j


def _with(base: Float64Array, channel: int, value: float) -> Float64Array:
    changed = base.copy()
    changed[0, channel] = value
    return changed


def _problem(examination: Examination, stimuli: Any) -> str:
    """What is wrong with the way in which a forbidden stimulus was treated; empty if nothing is."""
    entered = examination.guard.entered
    try:
        examination.device.measure(stimuli)
    except (StimulusError, LimitError):
        return "" if examination.guard.entered == entered else "the driver had seen it already"
    except HwloopError as error:
        return f"{type(error).__name__} instead of LimitError or StimulusError"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "it was measured"


@promise("saturation", "outputs have room for what is measured")
def saturation(examination: Examination) -> Finding:
    """Readings do not pile up at the ends of the output's range for moderate stimuli.

    An end is the highest reading of all, or the lowest unless that is 0 (dark pixels and silent neurons are no
    saturation), that several stimuli give to the last bit. Judged from the survey, whose stimuli fill three
    quarters of the range.
    """
    values = examination.survey.responses
    alive = np.ptp(values, axis=0) > 0
    levels = len(np.unique(values))
    if levels <= FEW_LEVELS:
        return note(f"the outputs know {levels} values, too few to tell saturation from resolution", levels=levels)
    lowest, highest = float(values.min()), float(values.max())
    at_high, at_low = values == highest, values == lowest
    ends = np.zeros_like(at_high)
    if at_high.sum() > 1:
        ends |= at_high
    if at_low.sum() > 1 and lowest != 0:
        ends |= at_low
    share, dead = float(ends.mean()), int((~alive).sum())
    numbers = {
        "readings_at_an_end_percent": 100 * share,
        "constant_outputs": dead,
        "outputs": values.shape[1],
        "lowest": lowest,
        "highest": highest,
    }
    unit = examination.spec.output_unit
    summary = f"{100 * share:.1f} % of the readings are at {lowest:.4g} or {highest:.4g} {unit}".rstrip()
    advice = "lower the gain, the exposure or the stimuli, or widen the range of the output"
    if share > SATURATED:
        return failed(summary, advice, **numbers)
    if share > NOTABLE:
        return note(summary, advice, **numbers)
    if dead:
        silent = f"{dead} of {alive.size} outputs never move"
        return note(silent, "leave them out, or check their channels", **numbers)
    return passed(summary, **numbers)


@promise("sign", "a stimulus and its mirror image are told apart")
def sign(examination: Examination) -> Finding:
    """D(x) differs from D(-x), or the user is told: a quadratic detector needs the reference slot.

    x is taken about the middle of the range, where the limits do not have both signs. Judged from the survey, in
    which each stimulus has its mirror image.
    """
    odd, p_value = _odd_share(examination.survey, examination.rng("sign"))
    symmetric = bool(np.allclose(examination.spec.low, -examination.spec.high))
    mirror = "-x" if symmetric else "its mirror image about the middle of the range"
    if p_value > SEEN:
        finding = note(f"blind to the sign: x and {mirror} are not told apart", SIGN_ADVICE)
    elif odd < WEAK:
        finding = note(f"nearly blind to the sign: {100 * odd:.2g} % of the response is odd", SIGN_ADVICE)
    else:
        finding = passed(f"{100 * odd:.0f} % of the response's power is odd in x")
    return replace(
        finding,
        evidence={"odd_share_of_power_percent": 100 * odd, "mirrored_about_zero": symmetric},
        test="permutation test: x and its mirror image swapped at random",
        p_value=p_value,
    )


def _odd_share(survey: ResponseSurvey, rng: np.random.Generator) -> tuple[float, float]:
    """Share of the power about the mean that is odd in x, noise taken out, and the test of "none is"."""
    scaled = survey.cube / survey.span
    differences = 0.5 * (scaled[:STIMULI] - scaled[STIMULI:])  # (STIMULI, REPEATS, n_outputs)
    gram = np.einsum("irj,isj->irs", differences, differences)
    gram = gram * ~np.eye(REPEATS, dtype=bool)  # different repeats only: their noise is independent
    signs = rng.choice([-1.0, 1.0], (SWAPS, STIMULI, REPEATS))
    pairs = STIMULI * REPEATS * (REPEATS - 1)
    odd = float(gram.sum()) / pairs
    swapped = np.einsum("irs,kir,kis->k", gram, signs, signs) / pairs
    centred = scaled - scaled.mean(axis=(0, 1))
    power = np.einsum("irj,isj->irs", centred, centred)
    everything = float(power[:, ~np.eye(REPEATS, dtype=bool)].mean())
    share = odd / everything if everything > 0 else 0.0
    smallest = 1e-20 * scaled.shape[-1]  # rounding
    return float(np.clip(share, 0.0, 1.0)), 1.0 if odd <= smallest else label_p_value(odd, swapped)
