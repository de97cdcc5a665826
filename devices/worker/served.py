"""A worker: serves one object to a trainer in another interpreter.

One file that needs the standard library and NumPy alone, Python 3.8 to 3.14: the other interpreter has no hwloop.
The trainer starts it with one end of a socket pair, a pipe that lives as long as the trainer does, memory that
both see, and a key in its environment. What travels are frames of bytes, never pickles:

``u32 length of the header, little-endian | header, JSON | arrays, raw, little-endian, C order, back to back``

The header's ``op`` says what is asked or answered; ``names``, ``shapes`` and ``dtypes`` describe the arrays;
``memory`` is there, with their size, if they lie in the shared memory instead.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import inspect
import json
import mmap
import os
import select
import signal
import struct
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any, NoReturn

import numpy as np

PROTOCOL = 1
KEY = "HWLOOP_WORKER_KEY"
LONGEST_HEADER = 1_000_000  # bytes
LONGEST_FRAME = 1 << 30  # bytes, with the arrays, wherever they lie
LONGEST_NUMBER = 20  # digits of a whole number in a header
MOST_ARRAYS = 64
MOST_DIMENSIONS = 8
MEMORY_FROM = 100_000  # bytes of arrays: below, a copy through the socket is as fast
DTYPES = frozenset(("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"))
LAYOUT = ("names", "shapes", "dtypes", "memory")
SPEC = ["n_inputs", "n_outputs", "input_low", "input_high", "input_unit", "output_unit"]
SPEC += ["max_rows", "row_seconds", "deterministic", "n_nudges"]
TUNABLES = "tunables"
LONGEST_TEXT = 20_000  # characters of a traceback
WATCH_SECONDS = 0.1
CLOSING_SECONDS = 0.6  # after the trainer's death, for the device to reach its safe state
TERM_SECONDS = 0.2  # then, from SIGTERM to SIGKILL


# -- frames --------------------------------------------------------------------------------------------------


class FrameError(ValueError):
    """These bytes are no frame, or what was given fits into none."""


class SharedFile:
    """Memory that two processes see: a file that never has a name, so that nothing is left of it.

    Parameters
    ----------
    descriptor
        Of the file; it grows as it is written.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    def write(self, arrays: list[np.ndarray[Any, Any]], size: int) -> bool:
        """Put arrays of ``size`` bytes back to back; false if the system has no room for them."""
        try:
            # Reserved first: where memory is short, writing to a map would end the process.
            os.posix_fallocate(self.descriptor, 0, size)
            target = np.frombuffer(self._mapped(size), np.uint8)
        except (OSError, ValueError):
            return False
        start = 0
        for array in arrays:
            target[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
            start += array.nbytes
        return True

    def read(self, size: int) -> np.ndarray[Any, Any]:
        """The first ``size`` bytes, not copied: they change with the next frame."""
        if size > os.fstat(self.descriptor).st_size:
            raise FrameError(f"the header speaks of {size} bytes, more than the shared memory holds")
        return np.frombuffer(self._mapped(size), np.uint8, size)

    def _mapped(self, size: int) -> mmap.mmap:
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self.descriptor, 0)
        return self._map


def encode_frame(
    header: Mapping[str, Any], arrays: Mapping[str, Any] | None = None, memory: SharedFile | None = None
) -> bytes:
    """One frame of a header, which has an ``op``, and arrays by name.

    Raises
    ------
    FrameError
        The header is no JSON, an array is none of real numbers, or there is too much of either.
    """
    plain = {name: _plain(name, array) for name, array in (arrays or {}).items()}
    described = dict(
        header,
        names=list(plain),
        shapes=[list(array.shape) for array in plain.values()],
        dtypes=[array.dtype.str for array in plain.values()],
    )
    size = sum(array.nbytes for array in plain.values())
    body: list[Any] = list(plain.values())
    if memory is not None and MEMORY_FROM < size <= LONGEST_FRAME and memory.write(body, size):
        described["memory"] = size
        body = []
    try:
        text = json.dumps(described, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError(f"the header cannot be written as JSON: {error}") from error
    if len(text) > LONGEST_HEADER or len(text) + size > LONGEST_FRAME:
        raise FrameError(f"a frame of {len(text)} + {size} bytes is too long; send fewer rows at a time")
    return b"".join([struct.pack("<I", len(text)), text, *body])


def decode_frame(
    frame: bytes | bytearray, memory: SharedFile | None = None, longest: int = LONGEST_FRAME
) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Header and arrays of one frame, the arrays the caller's own.

    Whatever the bytes are, it takes no more memory than ``longest``, and no longer than reading so much.

    Raises
    ------
    FrameError
        These bytes are no frame.
    """
    if not 4 <= len(frame) <= longest:
        raise FrameError(f"a frame of {len(frame)} bytes; it must have 4 to {longest}")
    (length,) = struct.unpack_from("<I", frame)
    if length > min(LONGEST_HEADER, len(frame) - 4):
        raise FrameError(f"a header of {length} bytes in a frame of {len(frame)}")
    header = _header(frame[4 : 4 + length])
    names, shapes, dtypes = (_listed(header, key) for key in LAYOUT[:3])
    if not len(names) == len(shapes) == len(dtypes) <= MOST_ARRAYS or len(set(map(str, names))) < len(names):
        raise FrameError("the header's lists of arrays do not fit each other")
    sizes = [_array_bytes(*layout, longest) for layout in zip(names, shapes, dtypes)]
    body = np.frombuffer(frame, np.uint8, offset=4 + length)
    if "memory" in header:
        size = header["memory"]
        if memory is None or len(body) or type(size) is not int or not 0 < size <= longest:
            raise FrameError("the header speaks of shared memory that there is not")
        body = memory.read(size)
    if sum(sizes) != len(body):
        raise FrameError(f"the header describes {sum(sizes)} bytes of arrays, but there are {len(body)}")
    arrays, start = {}, 0
    for name, shape, dtype, size in zip(names, shapes, dtypes, sizes):
        arrays[name] = array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[:] = body[start : start + size]
        start += size
    return {key: value for key, value in header.items() if key not in LAYOUT}, arrays


def _plain(name: str, array: Any) -> np.ndarray[Any, Any]:
    given = np.asarray(array)
    plain = np.asarray(given, given.dtype.newbyteorder("<"), order="C")
    if plain.dtype.str not in DTYPES or plain.ndim > MOST_DIMENSIONS:
        raise FrameError(f"{name}: an array of {given.dtype} with {given.ndim} dimensions cannot be sent")
    return plain


def _header(text: bytes | bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text.decode(), parse_constant=_no_number, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the header is no JSON: {error}") from error
    if not isinstance(header, dict) or not isinstance(header.get("op"), str):
        raise FrameError("the header is no JSON object with an op")
    return header


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _whole_number(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError("a whole number is too long")
    return int(text)


def _listed(header: dict[str, Any], key: str) -> list[Any]:
    value = header.get(key)
    if not isinstance(value, list):
        raise FrameError(f"the header lacks its list of {key}")
    return value


def _array_bytes(name: Any, shape: Any, dtype: Any, longest: int) -> int:
    """Size of one array, of which nothing is known but what a stranger's header says."""
    if not (isinstance(name, str) and isinstance(dtype, str) and dtype in DTYPES and isinstance(shape, list)):
        raise FrameError("the header describes an array that cannot be sent")
    space = size = np.dtype(dtype).itemsize
    for length in shape[: MOST_DIMENSIONS + 1]:
        if type(length) is not int or length < 0:
            raise FrameError(f"{name}: {length!r} is no length")
        space *= max(1, length)  # an empty array may not claim endless dimensions either
        size *= length
    if len(shape) > MOST_DIMENSIONS or space > longest:
        raise FrameError(f"{name}: an array of shape {shape[: MOST_DIMENSIONS + 1]} is too large")
    return size


# -- the object that is served -------------------------------------------------------------------------------


class Served:
    """The object behind the connection: built once, closed once, its methods called by name."""

    def __init__(self) -> None:
        self._object: Any = None
        self._takes_trial: bool | None = None
        self._limits: dict[str, Any] | None = None
        self._closing = threading.Lock()

    def answer(
        self, header: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The reply to one request; what the object raises becomes a reply too."""
        try:
            op, arguments = header["op"], header.get("arguments", {})
            if op == "hello":
                return _reply(versions())
            if op == "build":
                self._object = build(arrays=arrays, **arguments)
                return _reply(None)
            if op == "spec":
                return _reply(_spec(self._object))
            if op == "description":
                return _reply(_description(self._object))
            return _reply(self._call(op, header, arguments, arrays))
        except BaseException as error:
            kinds = [getattr(kind, "arrives_as", kind.__name__) for kind in type(error).__mro__]
            text = traceback.format_exc()[-LONGEST_TEXT:]
            message = str(error)[:LONGEST_TEXT]
            return {"op": "error", "kinds": kinds, "message": message, "traceback": text}, {}

    def _call(self, op: str, header: dict[str, Any], arguments: dict[str, Any], arrays: dict[str, Any]) -> Any:
        if self._object is None:
            raise RuntimeError("nothing is served yet")
        if op == "measure":
            return self._measured(arrays["inputs"], header["trial"])
        method = None if op.startswith("_") else getattr(self._object, op, None)
        if method is None and header.get("optional"):
            return None
        if not callable(method):
            raise AttributeError(f"{type(self._object).__name__} has no method {op}")
        return method(**arguments, **arrays)

    def _measured(self, inputs: np.ndarray[Any, Any], trial: int) -> np.ndarray[Any, Any]:
        """The response; ``trial``, the number of the first row, is for an object whose measure() takes it."""
        measure = self._object.measure
        if self._takes_trial is None:
            self._takes_trial = "trial" in inspect.signature(measure).parameters
            self._limits = _spec(self._object)
        inputs = checked(inputs, self._limits)
        return _unmasked(measure(inputs, trial=trial) if self._takes_trial else measure(inputs))

    def close(self) -> None:
        """Bring the object to its safe state, from whatever thread comes first."""
        with self._closing:
            served, self._object = self._object, None
            if hasattr(served, "close"):
                served.close()


def versions() -> dict[str, Any]:
    """Who answers, for the trainer to check."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {"protocol": PROTOCOL, "python": python, "numpy": np.__version__, "pid": os.getpid()}


def build(target: str, settings: dict[str, Any], path: list[str], arrays: dict[str, Any]) -> Any:
    """The object behind ``module:Class`` or ``folder/file.py:Class``, called with its settings and arrays."""
    sys.path.extend(path)
    module, _, name = target.rpartition(":")
    if module.endswith(".py"):
        sys.path.insert(0, os.path.dirname(os.path.abspath(module)))
        module = os.path.basename(module)[: -len(".py")]
    served: Any = importlib.import_module(module)
    for part in name.split("."):
        served = getattr(served, part)
    return served(**settings, **arrays)


def _spec(served: Any) -> dict[str, Any] | None:
    """What the object says of itself, a dictionary or an object with the fields of hwloop's DeviceSpec."""
    spec = getattr(served, "spec", None)
    if spec is None or isinstance(spec, dict):
        return spec
    fields = {name: getattr(spec, name) for name in SPEC if hasattr(spec, name)}
    if getattr(spec, TUNABLES, ()):
        fields[TUNABLES] = [each if isinstance(each, dict) else each.as_dict() for each in spec.tunables]
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}


def _description(served: Any) -> Any:
    """What hwloop's Device says that it is; any other object says nothing."""
    return served.describe().as_bytes() if hasattr(served, "described_settings") else None


class OutOfLimits(ValueError):
    """A stimulus lies outside the device's physical limits; nothing has reached the device."""

    arrives_as = "LimitError"  # the trainer's class for it, by name: this file imports nothing of hwloop


def checked(inputs: np.ndarray[Any, Any], spec: dict[str, Any] | None) -> np.ndarray[Any, Any]:
    """The stimuli, if they lie within the limits that the object states: its own check may be missing."""
    if spec is not None:
        low, high = spec.get("input_low", 0.0), spec.get("input_high", 1.0)
        if inputs.ndim != 2 or inputs.shape[1] != spec["n_inputs"]:
            raise ValueError(f"stimuli must have shape (rows, {spec['n_inputs']}), not {inputs.shape}")
        if not ((inputs >= low) & (inputs <= high)).all():
            raise OutOfLimits(f"a stimulus lies outside of {low} to {high}; nothing was sent")
    return inputs


class MarkedInvalid(ValueError):
    """The object answered with values that it marks as invalid itself."""

    arrives_as = "BadReading"


def _unmasked(reply: Any) -> np.ndarray[Any, Any]:
    """The reply as an array, whose mask would not travel with it."""
    rows = list(reply) if isinstance(reply, (list, tuple)) else [reply]
    if any(np.ma.is_masked(each) for each in [*rows, np.asanyarray(reply)]):
        raise MarkedInvalid("some values of the reply are masked; they are no readings")
    return np.asarray(reply)


def _reply(result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An array, or a dictionary of arrays, travels raw; anything else as JSON."""
    if isinstance(result, np.ndarray):
        return {"op": "reply", "value": None}, {"outputs": result}
    if isinstance(result, dict) and result and all(isinstance(each, np.ndarray) for each in result.values()):
        return {"op": "reply", "value": None}, result
    return {"op": "reply", "value": result}, {}


def received(connection: Connection) -> bytes:
    """The bytes of the next frame, none of which are taken in where its length is that of no frame.

    Raises
    ------
    FrameError
        More is announced than a frame has.
    EOFError, OSError
        The connection is gone.
    """
    try:
        return connection.recv_bytes(LONGEST_FRAME)
    except OSError as error:
        if str(error) == "bad message length":
            raise FrameError(f"more than the {LONGEST_FRAME} bytes of the longest frame are announced") from error
        raise


def serve(connection: Connection, memory: SharedFile, served: Served) -> None:
    """Answer one frame after the other, until the trainer ends the connection."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            header, arrays = decode_frame(received(connection), memory)
            reply = served.answer(header, arrays)
            try:
                frame = encode_frame(*reply, memory)
            except FrameError as error:
                message = f"the answer to {header['op']} cannot be sent: {error}"
                failure = {"op": "error", "kinds": ["FrameError"], "message": message, "traceback": ""}
                frame = encode_frame(failure)
            connection.send_bytes(frame)


# -- the safe state, whatever happens ------------------------------------------------------------------------


def start_guardian(lifeline: int, connection: Connection, memory: SharedFile) -> int:
    """A second process, which ends this one's group when the trainer is gone and the device does not let go.

    A thread could not: a driver that holds the interpreter lock stops every thread, and SIGSTOP does too.
    """
    worker = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that NumPy's BLAS may have started: the child calls no BLAS
        guardian = os.fork()
        if guardian:
            return guardian
    os.setpgid(0, 0)
    connection.close()
    os.close(memory.descriptor)
    while os.getppid() == worker and not select.select([lifeline], [], [], WATCH_SECONDS)[0]:
        pass
    end = time.monotonic() + CLOSING_SECONDS
    while os.getppid() == worker and time.monotonic() < end:
        time.sleep(WATCH_SECONDS / 10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker, signal.SIGTERM)  # what the driver started may have to clean up too
        time.sleep(TERM_SECONDS)
        os.killpg(worker, signal.SIGKILL)
    os._exit(0)


def start_warden(lifeline: int, served: Served, guardian: int) -> None:
    """A thread that closes the device and ends the process when the trainer is gone, or on SIGTERM or SIGHUP.

    The signals wake it through a pipe: a handler would wait until the driver's call returns.
    """
    trainer = os.getppid()
    signals, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to answer

    def watch() -> None:
        ready: list[int] = []
        while not ready and os.getppid() == trainer:
            ready = select.select([lifeline, signals], [], [], WATCH_SECONDS)[0]
        try:
            served.close()
        except BaseException:
            traceback.print_exc()
        if ready != [signals]:
            os._exit(1)  # the guardian ends what the driver has started
        with contextlib.suppress(OSError):
            os.kill(guardian, signal.SIGKILL)
            os.waitpid(guardian, 0)
        os._exit(128 + os.read(signals, 1)[0])

    threading.Thread(target=watch, name="warden", daemon=True).start()


def leave_children_alone(connection: Connection) -> None:
    """What the driver forks keeps neither the connection nor the handlers of this process."""

    def in_child() -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        connection.close()

    os.register_at_fork(after_in_child=in_child)


def main() -> None:
    """Serve on the descriptors that the command line names."""
    descriptors = [int(word) for word in sys.argv[1:4]]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    connection, lifeline, memory = Connection(descriptors[0]), descriptors[1], SharedFile(descriptors[2])
    key = bytes.fromhex(os.environ.pop(KEY))
    sys.argv[1:] = []
    del sys.path[0]  # this file's folder: its neighbours are no modules of anybody
    faulthandler.enable()
    guardian = start_guardian(lifeline, connection, memory)
    served = Served()
    start_warden(lifeline, served, guardian)
    leave_children_alone(connection)
    answer_challenge(connection, key)
    deliver_challenge(connection, key)
    serve(connection, memory, served)
    try:
        served.close()
    finally:
        time.sleep(1.0)  # the warden knows why the connection has ended, and ends this process meanwhile


if __name__ == "__main__":
    main()
