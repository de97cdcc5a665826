"""One driver an instrument, whoever uses this computer: a claim on its address that dies with its owner."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import stat
import weakref
from pathlib import Path

from hwloop.errors import DeviceError

# The same for every account of a computer, which a user's own temporary folder is not; and nothing tidies it up
# while the computer runs, as /tmp is.
FOLDERS = (Path("/run/lock"), Path("/tmp"))
FILE_MODE = 0o666  # so that every account can claim an address that another one has claimed before
ROOT = 0


class Claim:
    """Keeps two drivers on one computer from controlling the same instruments at a time, whoever runs them.

    Instruments on a bus or a network take commands from whoever connects: two programs would get each other's
    readings. The kernel releases a claim when its owner dies, however it dies. Another computer is not kept out.

    The claims lie in a folder that all accounts share (:func:`claims_folder`); what could not be trusted there is
    an error, and no other folder is taken instead.

    Parameters
    ----------
    addresses
        Of the instruments, as the user names them.
    """

    def __init__(self, *addresses: str) -> None:
        self._addresses = sorted({canonical(address) for address in addresses})
        self._files: list[int] = []
        _CLAIMS.add(self)

    def take(self) -> None:
        """Claim all of them; nothing happens if they are claimed by this object already.

        Raises
        ------
        DeviceError
            Another driver holds one, or the folder of the claims cannot be trusted.
        """
        if self._files:
            return
        folder = claims_folder()
        try:
            for address in self._addresses:
                self._files.append(_claimed(folder, address))
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others have them; safe to call twice."""
        while self._files:
            file = self._files.pop()
            with contextlib.suppress(OSError):
                os.ftruncate(file, 0)
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)  # also for a process that was forked and still has a copy open
            with contextlib.suppress(OSError):
                os.close(file)

    def leave_to_parent(self) -> None:
        """In a forked process: the claim is the parent's, and ends with the parent."""
        while self._files:
            with contextlib.suppress(OSError):
                os.close(self._files.pop())


def canonical(address: str) -> str:
    """An address as one text, however it is written: a port by the file it leads to, a VISA name in capitals."""
    text = address.strip()
    serial = re.fullmatch(r"(?i)ASRL(/.*?)(::INSTR)?", text)
    path = serial[1] if serial else text
    if path.startswith("/"):
        return os.path.realpath(path)
    text = text.upper().removesuffix("::INSTR")
    return re.sub(r"^(TCPIP|GPIB|USB|VXI|PXI)0?(?=::)", r"\g<1>0", text)


def claims_folder() -> Path:
    """The folder in which every account of this computer claims instruments.

    Raises
    ------
    DeviceError
        There is none in which no other account could remove or replace what lies in it.
    """
    problems = []
    for folder in FOLDERS:
        try:
            found = os.lstat(folder)
        except OSError as error:
            problems.append(f"{folder} cannot be used ({error.strerror})")
            continue
        if stat.S_ISDIR(found.st_mode) and not found.st_mode & stat.S_IWOTH:
            problems.append(f"{folder} is not for every account to write to")  # as some systems have it
            continue
        problem = _untrusted(found)
        if problem:
            raise DeviceError(
                f"instruments cannot be claimed: {folder} {problem}. Set it right as root: "
                f"chown root {folder}; chmod 1777 {folder}"
            )
        return folder
    raise DeviceError(
        f"instruments cannot be claimed: {'; '.join(problems)}. Make one of these folders usable as root: "
        "chmod 1777"
    )


def _untrusted(found: os.stat_result) -> str:
    """Why a folder that everybody can write to cannot be trusted, in words; empty if it can."""
    if not stat.S_ISDIR(found.st_mode):
        return "is no folder"
    if found.st_uid not in (ROOT, os.geteuid()):
        return f"belongs to {_account(found.st_uid)}, who could take claims away"
    if not found.st_mode & stat.S_ISVTX:
        return "lets every account remove the claims of others (it has no sticky bit)"
    return ""


def _claimed(folder: Path, address: str) -> int:
    """A locked file for an address; the file stays, so that two owners never lock two files of one name."""
    path = folder / f"hwloop-{hashlib.sha256(address.encode()).hexdigest()[:16]}.lock"
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _described(file)
            os.close(file)
            raise DeviceError(f"{address} is in use by another driver, {owner}; close that one first") from error
        if _is_at(path, file):
            break
        os.close(file)  # it was removed before it was locked
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()} {os.geteuid()}".encode(), 0)
    return file


def _opened(path: Path) -> int:
    """The file of a claim, made if it is not there, and never one that somebody else has put in its place."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        while True:
            # Not both at once: Linux refuses to create what another account has created in such a folder.
            try:
                file = os.open(path, flags)
                break
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    made = os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
                    try:
                        os.fchmod(made, FILE_MODE)  # whatever the umask leaves of it
                    finally:
                        os.close(made)
    except OSError as error:
        raise DeviceError(
            f"the claim {path} cannot be opened ({error.strerror}): it was not made by hwloop. Look who made it "
            f"(ls -l {path}), and remove it"
        ) from error
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(file)
        raise DeviceError(
            f"the claim {path} is no file of its own but leads elsewhere; it belongs to "
            f"{_account(found.st_uid)}. Remove it"
        )
    return file


def _is_at(path: Path, file: int) -> bool:
    """Whether the path still leads to an open file; one that was removed has one link less."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _described(file: int) -> str:
    """The owner that a claim names; whoever can write to it may have written anything."""
    found = re.fullmatch(rb"(\d{1,10}) (\d{1,10})", os.pread(file, 40, 0))
    if found is None:
        return "whose process is not named"
    return f"in process {int(found[1])} of {_account(int(found[2]))}"


def _account(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except (KeyError, OverflowError):
        return f"user {number}"


_CLAIMS: weakref.WeakSet[Claim] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for claim in list(_CLAIMS):
        claim.leave_to_parent()


os.register_at_fork(after_in_child=_leave_all_to_parent)
