"""Replay devices: they measure nothing, and answer from what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hwloop.device import Device, DeviceSpec
from hwloop.device.plain_value import digest_of_file, digest_of_text
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, JournalError
from hwloop.journal import ReadOnlyJournal
from hwloop.journal.chunk import chunk_numbers, chunk_path
from hwloop.journal.record import DEVICE
from hwloop.replay.recordings import NearestRow, Recordings, nearest_rows
from hwloop.runs.layout import chosen_journal


class Replay(Device):
    """Answers from the journal of an earlier run; a stimulus that was never measured is an error.

    A stimulus that was recorded several times (repeats, reference stimuli, epochs of an online schedule) is
    answered in the recorded order: the k-th request gets its k-th recording, later requests the last one. Where
    the recorded device or its settings changed within the journal, the last settings answer.

    Parameters
    ----------
    path
        The folder of a run, or of one journal.
    run_seed, device_number
        Which journal of a run: of this seed, and of the device with this number, from 0. Needed only where
        there are several; an experiment fills in its own.

    Attributes
    ----------
    spec
        The recorded device's, but for ``row_seconds``: nothing is waited for.

    Raises
    ------
    ConfigError
        There is no such journal, or more than one to choose from.
    JournalError
        The journal cannot be read, or names no device.
    """

    simulated = True

    path_settings: ClassVar = frozenset({"path"})
    self_described: ClassVar = frozenset({"path", "run_seed", "device_number"})

    def __init__(self, path: str | Path, run_seed: int | None = None, device_number: int | None = None) -> None:
        self.folder = chosen_journal(path, run_seed, device_number)
        self._journal = ReadOnlyJournal(self.folder)
        self._settings, self._identity, recorded_spec = self._recorded_device()
        self.spec = replace(recorded_spec, row_seconds=None)
        self._recordings: Recordings | None = None
        self._content: str | None = None

    def _recorded_device(self) -> tuple[str, str, DeviceSpec]:
        """Fingerprint, identity and spec of the last device that the journal names."""
        details: Mapping[str, Any] | None = None
        for note in self._journal.notes():
            if note.kind == DEVICE:
                details = note.details
        self._journal.close()
        if details is None:
            raise JournalError(f"{self.folder} names no device, so nothing can answer for it; see hwloop verify")
        try:
            return str(details["settings"]), str(details["identity"]), DeviceSpec(**details["spec"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise JournalError(
                f"{self.folder} describes its device in a way that cannot be used ({type(error).__name__}: "
                f"{error}); was it recorded by another version of hwloop?"
            ) from error

    def close(self) -> None:
        self._journal.close()

    def identify(self) -> str:
        return f"replay of {self._identity}"

    def described_settings(self) -> dict[str, Any]:
        """The journal by its content, wherever it lies, and which of the devices in it answers."""
        if self._content is None:
            chunks = (chunk_path(self.folder, number) for number in chunk_numbers(self.folder))
            self._content = digest_of_text("".join(map(digest_of_file, chunks)))
        return {"journal": self._content, "recorded": self._settings, **super().described_settings()}

    def continue_from(self, rows: int) -> None:
        """Go on behind the first ``rows`` recorded rows, as a run does that took the recorded path until then."""
        self._indexed().continue_from(rows)

    def _measure(self, inputs: Float64Array) -> Float64Array:
        recordings = self._indexed()
        tuning = self.tuning if self.spec.tunables else None
        unknown = np.flatnonzero(~recordings.recorded(inputs, tuning))
        if len(unknown):
            inputs[unknown] = self._stand_ins(inputs[unknown], unknown)
        return self._journal.read_rows(recordings.next_numbers(inputs, tuning))[1]

    def _stand_ins(self, stimuli: Float64Array, rows: Any) -> Float64Array:
        """Recorded stimuli to answer for those that never were; ``rows`` are their places in the call."""
        (found,) = self._nearest(stimuli[:1])
        raise JournalError(
            f"{self.folder} has no answer to row {rows[0]} of this call: that stimulus was never measured. "
            f"{self._described(found, stimuli[0])}. Replay with the configuration, data and versions of the "
            "recorded run, measure on the device, or explore with replay-nearest (hwloop.NearestReplay)"
        )

    def _nearest(self, stimuli: Float64Array) -> list[NearestRow]:
        tuning = self.tuning if self.spec.tunables else None
        found = nearest_rows(self._journal, self._settings, self.spec, stimuli, tuning)
        if not found:
            values = "; ".join(f"{name}: {part.tolist()}" for name, part in self.spec.named_tuning(tuning).items())
            raise JournalError(
                f"{self.folder} holds no row that was measured under this tuning ({values}); replay with the "
                "tunings of the recorded run, or measure on the device"
            )
        return found

    def _described(self, nearest: NearestRow, stimulus: Float64Array) -> str:
        channel = int(np.argmax(np.abs(nearest.stimulus - stimulus) / (self.spec.high - self.spec.low)))
        unit = f" {self.spec.input_unit}" if self.spec.input_unit else ""
        return (
            f"The nearest recorded row is number {nearest.number}, at a distance of {nearest.distance:.3g} "
            f"(root mean square over the channels, as a share of their range; most on channel {channel}: "
            f"{stimulus[channel]:.6g}{unit} asked, {nearest.stimulus[channel]:.6g}{unit} recorded)"
        )

    def _indexed(self) -> Recordings:
        if self._recordings is None:
            found = Recordings(self._journal, self._settings)
            if not len(found):
                raise JournalError(f"{self.folder} holds no row of {self._identity}; see hwloop verify")
            self._recordings = found
        return self._recordings


class NearestReplay(Replay):
    """Answers from a journal, for exploring: a stimulus that was never measured gets the nearest one's response.

    It is no measurement and no model: use it to try a pipeline, not to state an accuracy. Each call with such
    rows reads the whole journal once.

    Parameters
    ----------
    path, run_seed, device_number
        As :class:`Replay` takes them.
    max_distance
        A stimulus farther than this from every recorded one is an error. Root mean square over the channels of
        the difference, as a share of each channel's range.

    Attributes
    ----------
    rows_substituted, largest_distance
        How many rows were answered by another one's response, and the largest distance among them.
    """

    def __init__(
        self,
        path: str | Path,
        run_seed: int | None = None,
        device_number: int | None = None,
        max_distance: float = float("inf"),
    ) -> None:
        if isinstance(max_distance, bool) or not max_distance >= 0:
            raise ConfigError(f"max_distance must be a number of at least 0, not {max_distance!r}")
        super().__init__(path, run_seed, device_number)
        self.max_distance = max_distance
        self.rows_substituted = 0
        self.largest_distance = 0.0

    def identify(self) -> str:
        return f"nearest {super().identify()}"

    def _stand_ins(self, stimuli: Float64Array, rows: Any) -> Float64Array:
        found = self._nearest(stimuli)
        for row, nearest, stimulus in zip(rows, found, stimuli, strict=True):
            if nearest.distance > self.max_distance:
                raise JournalError(
                    f"{self.folder} has no answer to row {row} of this call within a distance of "
                    f"{self.max_distance:.3g}. {self._described(nearest, stimulus)}. Allow a larger max_distance, "
                    "or measure on the device"
                )
        self.rows_substituted += len(found)
        self.largest_distance = max(self.largest_distance, *(nearest.distance for nearest in found))
        return np.array([nearest.stimulus for nearest in found])
