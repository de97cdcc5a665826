"""What crosses the network by name and plain values, and what a server that means harm may send."""

import json
import math
import socket
import struct
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwloop
from hwloop import DeviceError, DeviceSpec, HwloopError
from hwloop.deadline import Deadline
from hwloop.devices.remote import RemoteDevice
from hwloop.devices.remote.channel import Channel
from hwloop.devices.remote.security import new_nonce
from hwloop.devices.remote.wire_format import (
    KINDS,
    Description,
    described,
    error_header,
    error_in,
    events_header,
    events_in,
)
from hwloop.devices.worker.served import FrameError, decode_frame, encode_frame
from hwloop.events import DeviceFault, StageStarted

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
SPEC = DeviceSpec(3, 2, input_low=-0.1, input_high=[1 / 3, 0.5, 2.0], input_unit="V", max_rows=7, row_seconds=1e-3)


def crossed(header, arrays=None):
    header, arrays = decode_frame(encode_frame({"op": "reply", **header}, arrays))
    return header, arrays


@given(
    st.integers(1, 5),
    st.integers(1, 10**6),
    st.floats(-1e300, -1e-300),
    st.floats(0, 1e300),
    st.none() | st.integers(1, 10**9),
    st.none() | st.floats(0, 1e9),
    st.booleans(),
    st.text(max_size=10),
    st.booleans(),
)
def test_a_description_crosses_to_the_last_bit(
    n_inputs, n_outputs, low, high, max_rows, row_seconds, deterministic, unit, by_channel
):
    spec = DeviceSpec(
        n_inputs,
        n_outputs,
        input_low=np.full(n_inputs, low) if by_channel else low,
        input_high=high,
        input_unit=unit,
        max_rows=max_rows,
        row_seconds=row_seconds,
        deterministic=deterministic,
    )
    there = Description(spec, unit)
    here = described(*crossed(*there.frame()))
    assert here == there
    assert np.array_equal(here.spec.low, spec.low)
    assert here.rows_a_frame >= 1
    assert here.rows_a_frame <= (max_rows or math.inf)


@given(
    st.sampled_from(sorted(DeviceSpec.__dataclass_fields__)) | st.sampled_from(["spec", "identity", "more"]),
    values,
)
def test_a_description_that_makes_no_sense_is_a_device_error(field, value):
    header, limits = Description(SPEC, "rig").frame()
    if field in ("spec", "identity"):
        header = {**header, field: value}
    else:
        limits.pop(field, None)
        header["spec"] = {**header["spec"], field: value}
    try:
        found = described(header, limits)
    except DeviceError:
        return
    assert isinstance(found.identity, str)
    assert np.all(np.isfinite(found.spec.low))


@pytest.mark.parametrize("kind", KINDS.values())
def test_an_error_keeps_its_class(kind):
    class Special(kind):
        """A driver's own."""

    for raised in (kind("row 3 of 5 V"), Special("row 3 of 5 V")):
        header, _ = crossed(error_header(raised))
        assert type(error_in(header)) is kind
        assert str(error_in(header)) == "row 3 of 5 V"


def test_an_unknown_error_is_a_device_error():
    found = error_in(crossed(error_header(ZeroDivisionError("in a driver")))[0])
    assert type(found) is DeviceError
    assert str(found) == "ZeroDivisionError: in a driver"


@given(values, values)
def test_no_error_but_those_on_the_list_can_be_named(kinds, message):
    found = error_in({"kinds": kinds, "message": message})
    assert type(found) in KINDS.values()
    assert str(found)
    assert type(error_in({"kinds": ["KeyboardInterrupt", "SystemExit", "os.system"]})) is DeviceError


@given(values)
def test_what_is_no_event_is_passed_over(told):
    assert all(isinstance(event, DeviceFault) for event in events_in({"events": told}))


def test_faults_cross_and_other_events_do_not():
    faults = [DeviceFault(1, "e" * 30_000, 2, "again"), DeviceFault(2, "f", 1, "gave up")]
    header = {"events": events_header([*faults, StageStarted(0, 2)])}
    found = events_in(crossed(header)[0])
    assert found[1] == faults[1]
    assert (found[0].fault, found[0].rows, len(found[0].error)) == (1, 2, 20_000)


def answers(number):
    """What a server that means harm, or is none, might say after its welcome, by number."""
    frames = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        struct.pack("<I", 2**32 - 1),
        struct.pack("<I", 40) + b"\x00" * 40,
        *(
            struct.pack("<I", len(frame)) + frame
            for frame in (
                encode_frame({"op": "hello", "number": 1}),
                encode_frame({"op": "described", "number": 1, "spec": {"n_inputs": 10**18, "n_outputs": 1}}),
                encode_frame({"op": "error", "number": 1, "kinds": [["DeviceError"]], "message": 5}),
                encode_frame({"op": "error", "number": 7, "kinds": ["SystemExit"]}),
                encode_frame({"op": "described", "number": 2, **Description(SPEC, "rig").frame()[0]}),
            )
        ),
    ]
    return frames[number] if number < len(frames) else None


@pytest.mark.parametrize("number", range(9))
def test_a_client_survives_whatever_answers(number):
    assert answers(9) is None
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        channel = Channel(listener.accept()[0])
        try:
            channel.send({"op": "welcome", "protocol": 1, "nonce": new_nonce()})
            channel.receive(4096, Deadline.after(10))
            channel.send({"op": "hello"})
            channel.receive(4096, Deadline.after(10))
            channel._stream.sendall(answers(number))
        except (OSError, EOFError, FrameError):
            pass
        channel.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with pytest.raises(HwloopError) as caught:
            _ = RemoteDevice(f"127.0.0.1:{listener.getsockname()[1]}", start_seconds=10).spec
        assert isinstance(caught.value, hwloop.DeviceError)
        json.dumps(str(caught.value))
    finally:
        thread.join()
        listener.close()
