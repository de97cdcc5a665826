"""One stream to the card that never stops: silence between sounds, so its latency stays what it was."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwloop.deadline import Deadline
from hwloop.device.spec import Float64Array
from hwloop.devices.sound_card.signals import rise
from hwloop.errors import BadReading, DeviceDisconnected, DeviceError, DeviceTimeout

Float32Array = NDArray[np.float32]
START_SECONDS = 10.0
DRAIN_SECONDS = 0.1
FADE_SECONDS = 0.5  # a block may be so long; a card that is gone asks for no further one


class DuplexStream(Protocol):
    """What a :class:`SoundCard` plays through and listens with."""

    def open(self) -> None:
        """Start, silent."""

    def close(self) -> None:
        """Silence, and end."""

    def identify(self) -> str:
        """The card's name."""

    def play_and_record(self, sound: Float64Array, timeout_seconds: float) -> Float64Array:
        """Play ``sound``, shape (samples,), and return as many samples that were recorded meanwhile."""


class Job:
    """A sound, shape (samples,), on its way through the stream's callback; ``sound`` is its own."""

    def __init__(self, sound: Float32Array, ramp_samples: int) -> None:
        self.sound, self.recording = sound, np.zeros_like(sound)
        self.position, self.end = 0, len(sound)
        self.faults = ""
        self.done = threading.Event()
        self._ramp_samples = ramp_samples
        self._lock = threading.Lock()

    def step(self, heard: Float32Array, played: Float32Array, faults: str) -> None:
        """Hand over the next block; both of shape (frames,)."""
        with self._lock:
            count = min(len(played), self.end - self.position)
            piece = slice(self.position, self.position + count)
            played[:count] = self.sound[piece]
            played[count:] = 0.0
            self.recording[piece] = heard[:count]
            self.position += count
            self.faults = self.faults or faults
            if self.position == self.end:
                self.done.set()

    def fade(self) -> None:
        """Let it die away from where it is, without a click."""
        with self._lock:
            fading = self.sound[self.position : self.position + self._ramp_samples]
            fading *= rise(len(fading))[::-1]
            self.end = self.position + len(fading)


class SoundDeviceStream:
    """A stream of the ``sounddevice`` package (PortAudio), one channel each way.

    Parameters
    ----------
    sample_rate
        Samples a second.
    input_device, output_device
        Names or numbers as ``python -m sounddevice`` lists them; ``None`` for the system's choice.
    buffering
        Seconds, or ``"high"`` or ``"low"``: what PortAudio calls the suggested latency.
    block_samples
        Samples that PortAudio asks for at a time; 0 for its own choice, which drops samples on some systems.
    ramp_samples
        Over which a sound that is broken off dies away.
    """

    def __init__(
        self,
        sample_rate: int,
        input_device: str | int | None,
        output_device: str | int | None,
        buffering: str | float,
        block_samples: int,
        ramp_samples: int,
    ) -> None:
        self.sample_rate = sample_rate
        self.devices = (input_device, output_device)
        self.buffering = buffering
        self.block_samples = block_samples
        self.ramp_samples = ramp_samples
        self._stream: Any = None
        self._job: Job | None = None

    def open(self) -> None:
        """Start, silent, and wait until it runs: that takes some cards seconds, and their first blocks are lost.

        Raises
        ------
        DeviceError
            sounddevice or PortAudio is not installed, there is no such card, or it does not run.
        """
        if self._stream is not None:
            return
        sounddevice = _sounddevice()
        with _failures("open"):
            self._stream = sounddevice.Stream(
                samplerate=self.sample_rate,
                device=self.devices,
                channels=1,
                dtype="float32",
                latency=self.buffering,
                blocksize=self.block_samples,
                callback=self._callback,
            )
            self._stream.start()
        deadline = Deadline.after(START_SECONDS)
        while True:
            try:
                self.play_and_record(np.zeros(self.sample_rate // 5), deadline.remaining_seconds)
                return
            except DeviceError as error:
                if not isinstance(error, BadReading) or deadline.expired:
                    self.close()
                    raise

    def close(self) -> None:
        """Let a sound die away, wait until that is heard, then stop."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with _failures("close"):
            try:
                self._fall_silent()
                if stream.active:  # stopping may cut off what is buffered: let it be silence by then
                    time.sleep(3.0 * stream.latency[1] + DRAIN_SECONDS)  # after a drop-out more than the latency
            finally:
                stream.abort()
                stream.close()

    def identify(self) -> str:
        """The names of both devices."""
        sounddevice = _sounddevice()
        kinds = ("input", "output")
        with _failures("identify"):
            names = [
                sounddevice.query_devices(device, kind)["name"]
                for device, kind in zip(self.devices, kinds, strict=True)
            ]
        return f"microphone {names[0]}, loudspeaker {names[1]}"

    def play_and_record(self, sound: Float64Array, timeout_seconds: float) -> Float64Array:
        """Play ``sound`` and return what was recorded meanwhile, of the same length.

        Raises
        ------
        DeviceDisconnected, DeviceTimeout
        BadReading
            The card or the computer dropped samples.
        """
        if self._stream is None or not self._stream.active:
            raise DeviceDisconnected("the sound card's stream does not run; check the card, then open it again")
        job = Job(sound.astype(np.float32), self.ramp_samples)
        self._job = job
        try:
            if not job.done.wait(timeout_seconds):
                played = f"{job.position} of {len(sound)} samples in {timeout_seconds:.3g} s"
                raise DeviceTimeout(f"the sound card played {played}; check it")
        except BaseException:
            self._fall_silent()
            raise
        finally:
            self._job = None
        if job.faults:
            raise BadReading(
                f"the sound card dropped samples ({job.faults}); take fewer rows a stream, or buffering"
            )
        return job.recording.astype(np.float64)

    def _callback(self, heard: Float32Array, played: Float32Array, frames: int, times: Any, status: Any) -> None:
        """Called by PortAudio's own thread for every block."""
        job = self._job
        if job is None or job.done.is_set():
            played[:] = 0.0
        else:
            job.step(heard[:, 0], played[:, 0], str(status) if status else "")

    def _fall_silent(self) -> None:
        job = self._job
        if job is not None and not job.done.is_set():
            job.fade()
            job.done.wait(FADE_SECONDS + self.ramp_samples / self.sample_rate)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        raise DeviceError(
            f"a sound card needs sounddevice and PortAudio ({error}); install them with: pip install "
            "'hwloop[audio]', and on Debian: apt-get install libportaudio2"
        ) from error
    return sounddevice


@contextlib.contextmanager
def _failures(action: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise DeviceDisconnected(
            f"cannot {action} the sound card ({what}); python -m sounddevice lists what there is"
        ) from error
