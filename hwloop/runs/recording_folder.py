"""Keep what a calibration, check or prediction measures: journals and a state, as in a run's folder."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hwloop.errors import ConfigError, JournalError, was_interrupted
from hwloop.journal import DiskJournal
from hwloop.journal.durable_files import atomic_write, make_folder, refuse_links
from hwloop.journal.lock import WriterLock
from hwloop.runs.files import UnreadableError, read_object
from hwloop.runs.layout import FAILED, FINISHED, INTERRUPTED, JOURNAL, RUNNING, RunState, read_state

REQUEST = "request.json"
BEGUN = {"lock", "lock.guard", f"{REQUEST}.part"}


class RecordingFolder:
    """A folder that nobody else writes while it is open; ``hwloop runs``, ``verify`` and ``export`` read it.

    One that was stopped in the middle of the same request is taken up again: its journals hold what was measured.
    Any other is set aside under a number, never overwritten. One that fails before its first row leaves nothing.

    Parameters
    ----------
    path
        New, or an earlier recording's folder.
    what
        What is done, for people: ``"calibration of rig.toml"``.
    device
        What the device is called.
    request
        Everything that decides which rows are asked for, as plain values.
    finished_too
        Take up one that was finished as well: the same request measures nothing anew.

    Attributes
    ----------
    set_aside
        Where an earlier recording went that could not be taken up; ``None`` if there was none.

    Raises
    ------
    ConfigError
        The folder cannot be written, or holds something else.
    JournalError
        Another process is writing it.
    """

    def __init__(
        self, path: Path, what: str, device: str, request: Mapping[str, Any], finished_too: bool = False
    ) -> None:
        self.path, self._what, self._device = path, what, device
        self._finished_too = finished_too
        self._journals: dict[str, DiskJournal] = {}
        self.set_aside: Path | None = None
        wanted = json.loads(json.dumps(dict(request)))
        if path.exists():
            self._set_aside_unless_taken_up(wanted)
        try:
            make_folder(path)
            refuse_links(path)
            self._lock = WriterLock(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be made ({error.strerror}); choose another place") from error
        try:
            if not self._lock.in_place:
                raise FileNotFoundError(errno.ENOENT, "it was moved away just now")
            atomic_write(path / REQUEST, json.dumps(wanted, indent=2, sort_keys=True) + "\n")
            self._write_state(RUNNING)
        except OSError as error:
            self._lock.release()
            raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another place") from error

    def _set_aside_unless_taken_up(self, wanted: Mapping[str, Any]) -> None:
        if not self.path.is_dir() or self.path.is_symlink():
            raise ConfigError(f"{self.path} is no folder; it would keep what is measured. Move it away")
        try:
            if {each.name for each in self.path.iterdir()} <= BEGUN:
                return  # new, or killed before it had said what it was to hold
            if not (self.path / REQUEST).is_file():
                raise ConfigError(
                    f"{self.path} is to keep what is measured, but holds something else; move it away"
                )
            lock = WriterLock(self.path)  # refused while another process writes it
            try:
                # Under the lock, and only what was locked: meanwhile another fit may have put a new folder there.
                held = lock.in_place and (self.path / REQUEST).is_file()
                if held and not self._is_same_request(wanted):
                    self.set_aside = _next_free(self.path)
                    self.path.rename(self.set_aside)
            finally:
                lock.release()
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read ({error.strerror}); choose another place") from error

    def _is_same_request(self, wanted: Mapping[str, Any]) -> bool:
        """Whether the folder holds the same request, unfinished where that matters."""
        try:
            unfinished = self._finished_too or read_state(self.path).state != FINISHED
            return unfinished and read_object(self.path / REQUEST) == wanted
        except UnreadableError:
            return False

    def journal(self, name: str) -> DiskJournal:
        """The journal of one device, with what an earlier attempt left in it; closed with the folder."""
        if name not in self._journals:
            self._journals[name] = DiskJournal(self.path / JOURNAL / name)
        return self._journals[name]

    @property
    def in_place(self) -> bool:
        """Whether what this object writes is still what its path names."""
        return self._lock.in_place

    @property
    def rows(self) -> int:
        """Rows in the journals that were asked for."""
        return sum(journal.rows for journal in self._journals.values())

    def _holds_other_journals(self) -> bool:
        """Whether an earlier attempt has left journals that this one did not come to."""
        parent = self.path / JOURNAL
        return parent.is_dir() and any(each.name not in self._journals for each in parent.iterdir())

    def finish(self) -> None:
        """Everything that was asked for is measured and written: the next request begins anew."""
        self._write_state(FINISHED)

    def _write_state(self, state: str, detail: str = "") -> None:
        RunState.now(state, self._what, self._device, detail).write(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            rows = self.rows
            for journal in self._journals.values():
                journal.close()
            if error is not None and not rows and not self._holds_other_journals():
                shutil.rmtree(self.path)
            elif error is not None:
                state = INTERRUPTED if was_interrupted(error) else FAILED
                self._write_state(state, " ".join(f"{type(error).__name__}: {error}".split())[:500])
        except (OSError, JournalError) as second:
            if error is None:
                raise
            error.add_note(f"and {self.path} could not be written: {second}")
        finally:
            self._lock.release()


def _next_free(path: Path) -> Path:
    """The path with the lowest number behind it that nothing has."""
    return next(free for n in range(1, 10**6) if not (free := path.with_name(f"{path.name}-{n}")).exists())
