"""Keeps what a fit measures on disk until the fit is done, so that the next one goes on from it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hwloop._version import __version__
from hwloop.device import Device
from hwloop.device.plain_value import PlainValues, digest_of_file
from hwloop.errors import ConfigError, HwloopError, JournalError
from hwloop.journal import InMemoryJournal
from hwloop.journal.durable_files import atomic_write
from hwloop.runs.files import UnreadableError, read_object
from hwloop.runs.recording_folder import RecordingFolder
from hwloop.session.session import Session

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 100  # fits of the same data into one folder by several processes
DRAWN = "drawn.json"  # what was drawn at random when the fit was begun


class KeptFit:
    """The folder of one fit; as a context manager around it.

    A fit that fails leaves its rows there, and its error names the folder. The next with the same request goes on
    from it: what it holds is answered in the recorded order, and nothing is measured twice.

    Parameters
    ----------
    journal
        Folder in which the folder of this fit is made, and stays. By default a folder of this user's among the
        temporary files, in which it is removed once the fit has succeeded.
    what, device
        What is done, and on what, for people.
    request
        Everything that decides which rows are asked for; see :func:`digest_of_rows` for data.

    Raises
    ------
    ConfigError
        The folder cannot be written.
    JournalError
        It is damaged.
    """

    def __init__(
        self, journal: str | os.PathLike[str] | None, what: str, device: str, request: Mapping[str, Any]
    ) -> None:
        self.temporary = journal is None
        wanted = {"hwloop": __version__, "what": what, **PlainValues().of(dict(request))}
        key = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
        base = _temporary_folder() if journal is None else Path(journal)
        self._folder = self._opened(base / f"fit-{key}", what, device, wanted)
        self.path = self._folder.path
        self._sessions: list[Session] = []
        # A fit that nobody refers to any more gives its folder back.
        self._left_open = weakref.finalize(self, _release, self._folder)

    def _opened(self, path: Path, what: str, device: str, wanted: Mapping[str, Any]) -> RecordingFolder:
        """Open the folder, or a numbered one while another fit of the same data writes the first."""
        for number in range(1, MOST_AT_ONCE):
            tried = path if number == 1 else path.with_name(f"{path.name}.{number}")
            try:
                return _opened_in_place(tried, what, device, wanted, finished_too=not self.temporary)
            except JournalError:
                if number + 1 == MOST_AT_ONCE:
                    raise
        raise AssertionError

    def drawn_once(self, name: str, draw: Callable[[], int]) -> int:
        """Draw a number once for this fit; one that goes on gets the same."""
        path = self.path / DRAWN
        with suppress(UnreadableError):
            found = read_object(path).get(name)
            if type(found) is int:
                return found
        value = draw()
        atomic_write(path, json.dumps({name: value}) + "\n")
        return value

    def record(self, sessions: Sequence[Session]) -> None:
        """Keep what these sessions measure, and have them answer first what the folder holds already."""
        before = 0
        for number, session in enumerate(dict.fromkeys(sessions)):
            if self.temporary and not isinstance(session.journal, InMemoryJournal):
                continue  # its rows are kept where whoever made it wanted them
            disk = self._folder.journal(f"seed-0-device-{number}")
            if any(not damage.torn for damage in disk.damage):
                raise JournalError(
                    f"{disk.folder} is damaged, and a fit that went on from it would take another path; hwloop "
                    f"verify {self.path} shows what can be read. Move it away to measure anew"
                )
            before += disk.rows
            session.record_also_in(disk)
            self._sessions.append(session)
        if before:
            logger.warning("the fit goes on from %s: %d rows are answered from there", self.path, before)

    def close(self) -> None:
        """Write no more into the folder; safe to call twice."""
        self._let_sessions_go()
        self._left_open()

    def _let_sessions_go(self) -> None:
        for session in self._sessions:
            if isinstance(session.journal, InMemoryJournal):
                session.journal.mirror = None
        self._sessions.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for session in self._sessions:
                session.remember_recorded()
            if self.temporary:
                self._let_sessions_go()
                removed = self.path.with_name(f"{self.path.name}-removed-{uuid.uuid4().hex}")
                with suppress(OSError):
                    # Whole or not at all: what is half removed could not be gone on from. Before the lock is
                    # released: afterwards it may be another fit's.
                    self.path.rename(removed)
                self.close()
                shutil.rmtree(removed, ignore_errors=True)
            else:
                self._folder.finish()
            return
        rows = self._folder.rows
        self._let_sessions_go()
        self._left_open.detach()
        self._folder.__exit__(kind, error, trace)
        if rows and isinstance(error, JournalError):
            _say(error, f"{rows} rows are kept in {self.path}; move it away to begin anew")
        elif rows:
            _say(
                error,
                f"{rows} rows are kept in {self.path}; the next fit on the same device and data goes on there",
            )

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Copy to nothing: there is one writer."""
        return _nothing, ()


def _opened_in_place(
    path: Path, what: str, device: str, wanted: Mapping[str, Any], finished_too: bool
) -> RecordingFolder:
    """Open the folder; anew if another fit that succeeded has removed it meanwhile."""
    for _ in range(MOST_AT_ONCE):
        try:
            folder = RecordingFolder(path, what, device, wanted, finished_too)
        except (ConfigError, JournalError) as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            continue
        if folder.in_place:
            return folder
        _release(folder)
    raise ConfigError(f'{path} is removed again and again by others; name another place: journal="folder"')


def digest_of_rows(values: NDArray[Any]) -> str:
    """What stands for an array in a request."""
    content = np.ascontiguousarray(values)
    return f"{content.dtype.str} {content.shape} {hashlib.sha256(content.tobytes()).hexdigest()}"


def device_request(device: str | os.PathLike[str] | Device) -> Any:
    """Says what a device is built from, for a request; the device is not opened."""
    if isinstance(device, Device):
        inside = [device_request(each) for each in device.devices_inside]
        return [type(device).__module__, type(device).__qualname__, device.described_settings(), inside]
    name = os.fspath(device)
    if name.endswith(".toml"):
        with suppress(OSError):
            return [name, digest_of_file(Path(name))]
    return name


def _temporary_folder() -> Path:
    """Folder of this user alone: another user who could write there could forge the device's answers."""
    try:
        path = Path(tempfile.gettempdir(), f"hwloop-fits-{os.getuid()}")
        with suppress(OSError):
            path.mkdir(mode=0o700, exist_ok=True)
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
                return path
        return Path(tempfile.mkdtemp(prefix="hwloop-fits-"))
    except OSError as error:
        raise ConfigError(
            f"there is no place for temporary files ({error.strerror or error}), so what is measured could be "
            'lost; name a folder to keep it in: journal="folder"'
        ) from error


def _say(error: BaseException, what: str) -> None:
    """In the message itself, which is what people see."""
    if isinstance(error, HwloopError) and len(error.args) == 1:
        error.args = (f"{error.args[0]}; {what}",)
    else:
        error.add_note(what)


def _release(folder: RecordingFolder) -> None:
    with suppress(JournalError, OSError):
        folder.__exit__(None, None, None)


def _nothing() -> None:
    """What is left of it in a copy."""
