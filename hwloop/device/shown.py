"""What a person sees of a device, in one line and in a notebook; nothing is asked of the hardware for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from hwloop.device.spec import DeviceSpec, Float64Array
from hwloop.html_report.summary import summary

if TYPE_CHECKING:
    from hwloop.device.base import Device

MOST_INSIDE = 6  # devices in devices that are named


def device_line(device: Device) -> str:
    """``<Averaged around MyRig: 20 inputs (0 to 1 V), 10 outputs (Pa)>``.

    Settings are left out: some are paths, or secret.
    """
    name = " around ".join([type(device).__name__, *_inside(device)])
    spec = _spec(device)
    if spec is None:
        return f"<{name}>"
    drives = f"{spec.n_drives} inputs ({limits(spec)})"
    nudges = f", {spec.n_nudges} nudges" if spec.n_nudges else ""
    unit = f" ({spec.output_unit})" if spec.output_unit else ""
    tunables = f", {spec.n_tunables} tunables" if spec.tunables else ""
    return f"<{name}: {drives}{nudges}, {spec.n_outputs} outputs{unit}{tunables}>"


def device_html(device: Device) -> str:
    """The same as a table, with what the device promises of its pace."""
    spec = _spec(device)
    facts: dict[str, object] = {"around": ", ".join(_inside(device))}
    if spec is not None:
        facts |= {
            "inputs": f"{spec.n_drives}, {limits(spec)}",
            "nudges": spec.n_nudges or None,
            "outputs": f"{spec.n_outputs} {spec.output_unit}".strip(),
            "tunables": ", ".join(f"{each.count} {each.name}" for each in spec.tunables),
            "rows a call": "any number" if spec.max_rows is None else f"{spec.max_rows:,} at most",
            "time a row": "" if spec.row_seconds is None else f"{spec.row_seconds:g} s",
            "the same stimulus": "gives the same response" if spec.deterministic else "",
        }
    return summary(type(device).__name__, facts)


def limits(spec: DeviceSpec) -> str:
    """``0 to 1 V``; of channels with limits of their own, the widest."""
    low, high = spec.low[: spec.n_drives], spec.high[: spec.n_drives]
    own = "" if _alike(low) and _alike(high) else ", each its own"
    return f"{low.min():g} to {high.max():g} {spec.input_unit}".rstrip() + own


def _alike(values: Float64Array) -> bool:
    return bool(np.all(values == values[0]))


def _spec(device: Device) -> DeviceSpec | None:
    """``None`` where a constructor has not come so far, or the device was never opened."""
    with suppress(Exception):
        return device.spec
    return None


def _inside(device: Device) -> list[str]:
    """The classes of the devices inside, from the outside in; of several in one, how many."""
    return list(_layers(device))


def _layers(device: Device) -> Iterator[str]:
    for _ in range(MOST_INSIDE):
        inside: list[Device] = []
        with suppress(Exception):
            inside = list(device.devices_inside)
        if not inside:
            return
        several = f"{len(inside)} x " if len(inside) > 1 else ""
        device = inside[0]
        yield several + type(device).__name__
