"""Does anything beyond the limits reach the driver?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hwloop.conformance.examination import Examination
from hwloop.conformance.finding import Finding, failed, passed
from hwloop.conformance.guard import overrides_measure
from hwloop.conformance.promise import Evidence, Promise
from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import HwloopError, LimitError, StimulusError
from hwloop.probing.stimuli import middle, moderate

CHANNELS = 3


class Limits(Promise):
    """Stimuli beyond the limits are refused before the driver sees them, in every wrapper.

    Nothing beyond the limits is ever sent on trust: a device whose ``measure`` is not the one with the checks is
    not tried, and a guard stands before every driver.
    """

    name = "limits"
    question = "nothing beyond the limits reaches the driver"

    def rows(self, examination: Examination) -> int:
        """Three within the limits, at their corners."""
        return 3

    def check(self, evidence: Evidence) -> Finding:
        """First the code, then refusals, then the corners that are allowed."""
        examination = evidence.examination
        for guard in examination.guards:
            if overrides_measure(guard.device):
                name = type(guard.device).__name__
                return failed(
                    f"{name} replaces measure(), which holds the checks; nothing beyond the limits was tried",
                    "write _measure() instead, and in a wrapper call measure() of the device inside",
                    device=name,
                )
        examination.require(self.rows(examination))
        tried = 0
        if examination.guard.installed:
            for what, stimuli in _forbidden(examination.spec):
                tried += 1
                problem = _problem(examination, stimuli)
                if problem:
                    return failed(f"{what} is not refused: {problem}", "leave measure() as it is", tried=tried)
        return self._corners(examination, tried)

    def _corners(self, examination: Examination, tried: int) -> Finding:
        spec = examination.spec
        rng = examination.rng(self.name)
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
