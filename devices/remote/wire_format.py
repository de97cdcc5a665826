"""Write and read a device's description, errors and events on the network: names and plain values only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop import errors
from hwloop.device import Device, DeviceDescription, DeviceSpec
from hwloop.devices.hosted import class_named
from hwloop.devices.remote.channel import Arrays, Header
from hwloop.devices.worker.served import LONGEST_FRAME
from hwloop.errors import ConfigError, DeviceError, HwloopError
from hwloop.events import DeviceFault, Event

DESCRIPTION_BYTES = 1 << 26  # limits of four million channels
FRAME_BYTES = 1 << 24  # of stimuli or responses: what a call brings beyond that travels in several frames
HEADER_BYTES = 1 << 16
LONGEST_TEXT = 20_000  # characters
MOST_EVENTS = 100
LONGEST_PROGRESS = 500_000  # bytes; beyond it a simulation goes on by its rows alone
# The errors that keep their class; anything else arrives as a DeviceError.
KINDS = {
    kind.__name__: kind
    for kind in (
        errors.StimulusError,
        errors.TuningError,
        errors.LimitError,
        errors.DeviceError,
        errors.DeviceTimeout,
        errors.DeviceDisconnected,
        errors.DeviceCrashed,
        errors.DeviceChanged,
        errors.DeviceDrifted,
        errors.BadReading,
        errors.ConfigError,
    )
}
LIMITS = ("input_low", "input_high")
DEVICE = "device"
TUNABLES = "tunables"
SPEC_FIELDS = frozenset(DeviceSpec.__dataclass_fields__)


class DeviceHeld(DeviceError):
    """Another client has the device."""


@dataclass(frozen=True)
class Description:
    """What a device is, and who answers; ``device`` as it describes itself, of a server that says so."""

    spec: DeviceSpec
    identity: str
    device: DeviceDescription | None = None

    @classmethod
    def of(cls, device: Device) -> Description:
        """Of a device that is open."""
        identity = device.identify()
        return cls(device.spec, identity, device.describe(identity))

    def frame(self) -> tuple[Header, Arrays]:
        """Header and arrays; limits of many channels are arrays, tunables their text in JSON.

        Tunables stand in the header too, where there are some: a client that does not know them refuses it.
        """
        spec = {name: getattr(self.spec, name) for name in SPEC_FIELDS}
        arrays = {name: spec.pop(name) for name in LIMITS if isinstance(spec[name], np.ndarray)}
        if tunables := spec.pop(TUNABLES):
            spec[TUNABLES] = len(tunables)
            text = json.dumps([each.as_dict() for each in tunables])
            arrays[TUNABLES] = np.frombuffer(text.encode(), dtype=np.uint8)
        if self.device is not None:
            arrays[DEVICE] = self.device.as_bytes()
        return {"spec": spec, "identity": self.identity}, arrays

    @property
    def rows_a_frame(self) -> int:
        """Rows of stimuli and responses that one frame carries."""
        channels = max(self.spec.n_inputs, self.spec.n_outputs)
        rows = max(1, FRAME_BYTES // (8 * channels))
        return rows if self.spec.max_rows is None else min(rows, self.spec.max_rows)

    @property
    def longest_request(self) -> int:
        """Bytes of the longest frame of stimuli."""
        values = max(self.rows_a_frame * self.spec.n_inputs, self.spec.n_tunables)
        return min(LONGEST_FRAME, HEADER_BYTES + 8 * values)

    def longest_reply(self, rows: int) -> int:
        """Bytes of the longest frame that answers so many rows, with what the device tells besides."""
        texts = 4 * LONGEST_TEXT * (MOST_EVENTS + 1)
        return min(LONGEST_FRAME, HEADER_BYTES + texts + 8 * rows * self.spec.n_outputs)


def described(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> Description:
    """The description in a frame.

    Raises
    ------
    DeviceError
        It holds none that could be used.
    """
    spec, identity = header.get("spec"), header.get("identity")
    limits = {name: array for name, array in arrays.items() if name in LIMITS}
    if not (isinstance(spec, dict) and set(spec) <= SPEC_FIELDS and isinstance(identity, str)):
        raise DeviceError("the server does not say what its device is; check that both sides have the same hwloop")
    texts = (spec.get("input_unit", ""), spec.get("output_unit", ""), identity)
    try:
        if not all(isinstance(text, str) and len(text) <= LONGEST_TEXT for text in texts):
            raise ValueError("a text is none, or too long")
        spec = {**spec, **limits, TUNABLES: _tunables_in(spec, arrays)}
        found = DeviceSpec(**spec)
        if max(found.n_inputs, found.n_outputs) > LONGEST_FRAME // 16 or type(found.deterministic) is not bool:
            raise ValueError("it has too many channels, or does not say whether it is deterministic")
        device = arrays.get(DEVICE)
        return Description(found, identity, None if device is None else DeviceDescription.from_bytes(device))
    except (ConfigError, TypeError, ValueError, OverflowError) as error:
        raise DeviceError(f"the server describes a device that cannot be ({error})") from error


def _tunables_in(spec: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[Any]:
    """The tunables of a description, as plain tables."""
    count = spec.get(TUNABLES, 0)
    text = arrays[TUNABLES].tobytes().decode() if TUNABLES in arrays else "[]"
    tunables = json.loads(text)
    if not isinstance(tunables, list) or len(tunables) != count:
        raise ValueError(f"it announces {count!r} tunables, and describes others")
    return tunables


def error_header(error: BaseException) -> dict[str, Any]:
    """A reply that says what went wrong."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in KINDS]
    message = str(error) if isinstance(error, HwloopError) else f"{type(error).__name__}: {error}"
    held = {"held": True} if isinstance(error, DeviceHeld) else {}
    return {"op": "error", "kinds": kinds, "message": message[:LONGEST_TEXT], **held}


def error_in(header: Mapping[str, Any]) -> HwloopError:
    """The error in a reply, of the same class if that is known, else a :class:`DeviceError`."""
    kinds, message = header.get("kinds"), header.get("message")
    kind = DeviceHeld if header.get("held") is True else class_named(kinds, KINDS)
    text = message[:LONGEST_TEXT] if isinstance(message, str) else ""
    return kind(text or "the server reports a failure without a word")


def progress_header(progress: Mapping[str, Any]) -> dict[str, Any]:
    """How far a device has come, for a header; nothing where the rows that were asked of it say it all."""
    if set(progress) == {"rows"} or len(json.dumps(progress)) > LONGEST_PROGRESS:
        return {}
    return {"progress": dict(progress)}


def events_header(events: Iterable[Event]) -> list[dict[str, Any]]:
    """What the device told, for a header; the first so many."""
    told = [event.as_dict() for event in events if isinstance(event, DeviceFault)][:MOST_EVENTS]
    shortened = {"error": LONGEST_TEXT, "action": LONGEST_TEXT}
    return [
        {key: value[: shortened[key]] if key in shortened else value for key, value in event.items()}
        for event in told
    ]


def events_in(header: Mapping[str, Any]) -> list[DeviceFault]:
    """What the device on the other side told; whatever is no event is passed over."""
    told = header.get("events")
    found = []
    for event in told[:MOST_EVENTS] if isinstance(told, list) else []:
        if not isinstance(event, dict):
            continue
        fault, error, rows, action = (event.get(key) for key in ("fault", "error", "rows", "action"))
        if type(fault) is int and type(rows) is int and isinstance(error, str) and isinstance(action, str):
            found.append(DeviceFault(fault, error[:LONGEST_TEXT], rows, action[:LONGEST_TEXT]))
    return found
