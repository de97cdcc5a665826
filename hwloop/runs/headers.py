"""The headers of records as objects; the journal has checked them when it read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwloop.journal.frame import ROWS

DEVICE = "device"


@dataclass(frozen=True, slots=True)
class RowsHeader:
    """A record of rows.

    Attributes
    ----------
    settings
        Fingerprint of the device and its settings.
    is_narrow
        Whether both arrays are stored as float32.
    """

    purpose: str
    step: str
    settings: str
    first_row: int
    rows: int
    started_seconds: float
    duration_seconds: float
    n_inputs: int
    n_outputs: int
    is_narrow: bool


@dataclass(frozen=True, slots=True)
class DeviceNote:
    """Which device answers from here on; ``spec`` as :meth:`hwloop.DeviceSpec.as_dict` gave it."""

    settings: str
    identity: str
    spec: dict[str, Any]


def rows_header(header: Mapping[str, Any]) -> RowsHeader | None:
    """The header of a record of rows; ``None`` if it is another record's."""
    if header["kind"] != ROWS:
        return None
    stimuli, responses = header["arrays"]
    return RowsHeader(
        purpose=header["purpose"],
        step=header["step"],
        settings=header["device"],
        first_row=header["first_row"],
        rows=header["rows"],
        started_seconds=float(header["started_seconds"]),
        duration_seconds=float(header["duration_seconds"]),
        n_inputs=stimuli["shape"][1],
        n_outputs=responses["shape"][1],
        is_narrow=stimuli["dtype"] == responses["dtype"] == "<f4",
    )


def device_note(header: Mapping[str, Any]) -> DeviceNote | None:
    """The header of a note that names a device; ``None`` if it is another record's, or names none."""
    details = header.get("details")
    if header["kind"] != DEVICE or not isinstance(details, dict):
        return None
    settings, identity, spec = (details.get(name) for name in ("settings", "identity", "spec"))
    if not isinstance(settings, str) or not isinstance(identity, str) or not isinstance(spec, dict):
        return None
    return DeviceNote(settings, identity, spec)
