"""Write rows as Parquet: one table, a line for each row, stimulus and response as lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hwloop.device.spec import Float64Array
from hwloop.runs.recorded_rows import ExportedDevice, ExportedRows, storable

TEXT = pa.dictionary(pa.int32(), pa.string())


def write_parquet(
    path: Path, attributes: Mapping[str, str], devices: Sequence[ExportedDevice], blocks: Iterable[ExportedRows]
) -> None:
    """Write a file that pandas, polars and DuckDB open.

    Parameters
    ----------
    attributes
        Of the whole run, as texts; they become the schema's metadata, with ``devices`` (JSON) beside them.
    devices
        Who measured.
    blocks
        Their rows; each becomes a row group.

    Raises
    ------
    OSError
    """
    schema = _schema(devices).with_metadata(
        {
            **{name: storable(text) for name, text in attributes.items()},
            "devices": json.dumps([_described(device) for device in devices]),
        }
    )
    with pq.ParquetWriter(path, schema) as writer:
        for block in blocks:
            writer.write_table(_table(block, schema))


def _schema(devices: Sequence[ExportedDevice]) -> pa.Schema:
    tuning = [pa.field("tuning", pa.list_(pa.float64()))] if any(each.n_tunables for each in devices) else []
    number = pa.list_(pa.float32() if all(device.is_narrow for device in devices) else pa.float64())
    return pa.schema(
        [
            pa.field("journal", TEXT),
            pa.field("seed", pa.int64()),
            pa.field("device_number", pa.int64()),
            pa.field("device", TEXT),
            pa.field("row", pa.int64()),
            pa.field("call", pa.int64()),
            pa.field("time", pa.timestamp("us", tz="UTC")),
            pa.field("device_seconds", pa.float64(), metadata={"units": "s"}),
            pa.field("purpose", TEXT),
            pa.field("step", TEXT),
            pa.field("stimulus", number, metadata=_units(devices, "input_unit")),
            pa.field("response", number, metadata=_units(devices, "output_unit")),
            *tuning,
        ]
    )


def _table(block: ExportedRows, schema: pa.Schema) -> pa.Table:
    rows, device = len(block.row), block.device
    columns: dict[str, Any] = {
        "journal": _repeated(device.name, rows),
        "seed": pa.array([device.journal.seed], pa.int64()).take(pa.array(np.zeros(rows, np.int64))),
        "device_number": pa.array([device.journal.device_number], pa.int64()).take(
            pa.array(np.zeros(rows, np.int64))
        ),
        "device": _repeated(storable(device.identity or device.settings), rows),
        "row": pa.array(block.row),
        "call": pa.array(block.call),
        "time": _times(block.started_seconds).cast(schema.field("time").type),
        "device_seconds": pa.array(block.device_seconds),
        "purpose": pa.array(block.purpose, pa.string()).dictionary_encode(),
        "step": pa.array(block.step, pa.string()).dictionary_encode(),
        "stimulus": _lists(block.stimuli, schema.field("stimulus").type),
        "response": _lists(block.responses, schema.field("response").type),
        "tuning": _lists(block.tuning, pa.list_(pa.float64())),
    }
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _repeated(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def _times(seconds: Float64Array) -> pa.Array:
    unknown = np.isnan(seconds)
    return pa.array(np.round(np.where(unknown, 0.0, seconds) * 1e6).astype(np.int64), mask=unknown)


def _lists(values: Float64Array, kind: pa.ListType) -> pa.ListArray:
    rows, width = values.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()).cast(kind.value_type, safe=False))


def _units(devices: Sequence[ExportedDevice], name: str) -> dict[str, str] | None:
    """The unit of a column, where all devices share it; ``devices`` in the metadata tells each one's."""
    units = {device.unit(name) for device in devices}
    return {"units": storable(units.pop())} if len(units) == 1 and "" not in units else None


def _described(device: ExportedDevice) -> dict[str, Any]:
    return {
        "journal": device.name,
        "seed": device.journal.seed,
        "device_number": device.journal.device_number,
        "identity": device.identity,
        "settings": device.settings,
        "n_inputs": device.n_inputs,
        "n_outputs": device.n_outputs,
        **({"n_tunables": device.n_tunables} if device.n_tunables else {}),
        "spec": device.spec,
        "rows": device.rows,
    }
