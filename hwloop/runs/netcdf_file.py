"""Write rows as netCDF4, which is HDF5: a group for each device and seed, with units and CF times."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np

from hwloop.runs.recorded_rows import ExportedDevice, ExportedRows, storable

EPOCH = "seconds since 1970-01-01 00:00:00"


def write_netcdf(
    path: Path, attributes: Mapping[str, str], devices: Iterable[ExportedDevice], blocks: Iterable[ExportedRows]
) -> None:
    """Write a file that xarray, netCDF and HDF5 tools open.

    Parameters
    ----------
    attributes
        Of the whole run, as texts.
    devices
        One group each, with the dimensions ``row``, ``input`` and ``output``; ``tunable`` where there are some.
    blocks
        Their rows.

    Raises
    ------
    OSError
    """
    with h5netcdf.File(path, "w") as file:
        file.attrs.update({name: storable(text) for name, text in attributes.items()})
        groups = {device.name: _add_group(file, device) for device in devices}
        for block in blocks:
            _write_block(groups[block.device.name], block)


def _add_group(file: h5netcdf.File, device: ExportedDevice) -> h5netcdf.Group:
    group = file.create_group(device.name)
    tunable = {"tunable": device.n_tunables} if device.n_tunables else {}
    group.dimensions = {"row": device.rows, "input": device.n_inputs, "output": device.n_outputs, **tunable}
    if tunable:
        tuning = group.create_variable("tuning", ("row", "tunable"), "<f8")
        tuning.attrs["long_name"] = "what the tunables were set to, in the order of the spec"
    group.attrs.update(device_attributes(device))
    number = "<f4" if device.is_narrow else "<f8"
    text = h5py.string_dtype()
    inputs, outputs = _unit(device.unit("input_unit")), _unit(device.unit("output_unit"))
    for name, dimensions, kind, described in (
        ("stimulus", ("row", "input"), number, {"long_name": "what the device was given", **inputs}),
        ("response", ("row", "output"), number, {"long_name": "what was measured", **outputs}),
        ("row", ("row",), "<i8", {"long_name": "number of the row in its journal"}),
        ("call", ("row",), "<i8", {"long_name": "number of the call that measured the row"}),
        ("time", ("row",), "<f8", {"long_name": "when that call began", "units": EPOCH, "calendar": "standard"}),
        ("device_seconds", ("row",), "<f8", {"long_name": "the row's share of the call's time", "units": "s"}),
        ("purpose", ("row",), text, {"long_name": "what the row was measured for"}),
        ("step", ("row",), text, {"long_name": "where in the run it was asked for"}),
    ):
        group.create_variable(name, dimensions, kind).attrs.update(described)
    for name in ("input_low", "input_high"):
        limit = _limit(device, name)
        if limit is not None:
            group.create_variable(name, ("input",), "<f8", data=limit).attrs.update(
                {"long_name": f"{name.removeprefix('input_')}er limit of a stimulus", **inputs}
            )
    return group


def _write_block(group: h5netcdf.Group, block: ExportedRows) -> None:
    rows = slice(block.start, block.start + len(block.row))
    number = np.float32 if block.device.is_narrow else np.float64
    for name, values in (
        ("stimulus", block.stimuli.astype(number)),
        ("response", block.responses.astype(number)),
        ("row", block.row),
        ("call", block.call),
        ("time", block.started_seconds),
        ("device_seconds", block.device_seconds),
        ("purpose", block.purpose),
        ("step", block.step),
        *([("tuning", block.tuning)] if block.device.n_tunables else []),
    ):
        group[name][rows] = values


def device_attributes(device: ExportedDevice) -> dict[str, Any]:
    """Who measured, as plain numbers and texts."""
    numbers = {"seed": device.journal.seed, "device_number": device.journal.device_number}
    texts = {"identity": device.identity, "settings": device.settings, "spec": json.dumps(device.spec)}
    return {name: value for name, value in numbers.items() if value is not None} | {
        name: storable(text) for name, text in texts.items()
    }


def _unit(unit: str) -> dict[str, str]:
    """The attribute ``units``; CF takes "... since ..." for a date, so that such a unit gets a name of its own."""
    if not unit:
        return {}
    return {"units_in_words" if " since " in unit.lower() else "units": storable(unit)}


def _limit(device: ExportedDevice, name: str) -> Any:
    """A limit on every input channel; ``None`` if the spec does not tell."""
    limit = device.spec.get(name)
    values = limit if isinstance(limit, list) else [limit] * device.n_inputs
    usable = len(values) == device.n_inputs and all(_is_number(value) for value in values)
    return np.array(values, dtype=np.float64) if usable else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value)
