"""Two accounts of one computer do not hold one instrument, and nobody is led astray by what lies in the folder."""

import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

import pytest
from helpers import in_forked_process

import hwloop
from hwloop.devices import claim
from hwloop.devices.claim import Claim, canonical

ALICE, BOB = 61_001, 61_002
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two accounts")


@contextlib.contextmanager
def address():
    name = f"TCPIP::127.0.0.1::{secrets.token_hex(8)}::SOCKET"
    try:
        yield name
    finally:
        path_of(name).unlink(missing_ok=True)


def path_of(name):
    import hashlib

    return claim.claims_folder() / f"hwloop-{hashlib.sha256(canonical(name).encode()).hexdigest()[:16]}.lock"


def as_account(uid, work, **variables):
    """What ``work`` says in a process of another account: its text, or the error's."""

    def switched():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        os.environ.update(variables)
        tempfile.tempdir = None
        return work()

    return in_forked_process(switched)[0]


def taken(name):
    held = Claim(name)
    held.take()
    held.release()
    return "taken"


@needs_root
@pytest.mark.parametrize("owner", [0, ALICE])
def test_what_one_account_holds_another_is_refused(owner, tmp_path):
    """Whatever temporary folder each has: that is a user's own on many computers."""
    with address() as name:
        if owner:
            assert as_account(ALICE, lambda: taken(name)) == "taken"
            assert os.stat(path_of(name)).st_uid == ALICE
        held = Claim(name)
        held.take()
        refused = as_account(BOB, lambda: taken(name), TMPDIR=str(tmp_path))
        assert refused.startswith(
            f"DeviceError: {canonical(name)} is in use by another driver, in process {os.getpid()}"
        )
        assert "user root" in refused
        held.release()
        assert as_account(BOB, lambda: taken(name), TMPDIR=str(tmp_path)) == "taken"
        assert stat.S_IMODE(os.stat(path_of(name)).st_mode) == 0o666


@needs_root
@pytest.mark.parametrize("trap", ["symlink", "dangling symlink", "hard link", "fifo", "folder", "unreadable"])
def test_what_an_account_puts_in_the_place_of_a_claim_is_refused(trap, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with address() as name:
        path = path_of(name)
        if trap == "symlink":
            path.symlink_to(victim)
        elif trap == "dangling symlink":
            path.symlink_to(tmp_path / "nothing here")
        elif trap == "hard link":
            other = path.with_suffix(".other")
            other.write_text("precious")
            os.link(other, path)
        elif trap == "fifo":
            os.mkfifo(path)
        elif trap == "folder":
            path.mkdir()
        else:
            path.touch(0o600)
        try:
            said = as_account(BOB, lambda: taken(name)) if trap == "unreadable" else None
            if said is None:
                with pytest.raises(hwloop.DeviceError, match=r"Remove it|remove it"):
                    Claim(name).take()
            else:
                assert said.startswith("DeviceError: the claim")
                assert "remove it" in said
            assert victim.read_text() == "precious"
            assert not (tmp_path / "nothing here").exists()
        finally:
            if trap == "folder":
                path.rmdir()
            if trap == "hard link":
                assert other.read_text() == "precious"
                other.unlink()


@pytest.mark.parametrize(
    ("mode", "owner", "said"),
    [
        (0o777, 0, "no sticky bit"),
        (0o1777, BOB, "belongs to user"),
        (0o755, 0, "not for every account"),
        (None, 0, "is no folder"),
    ],
)
@needs_root
def test_a_folder_that_cannot_be_trusted_is_an_error_and_no_other_is_taken(
    mode, owner, said, tmp_path, monkeypatch
):
    folder = tmp_path / "lock"
    if mode is None:
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        folder.chmod(mode)
        os.chown(folder, owner, owner)
    monkeypatch.setattr(claim, "FOLDERS", (folder,))
    with pytest.raises(hwloop.DeviceError, match=said):
        Claim("TCPIP::h::1::SOCKET").take()
    assert not any(each.name.startswith("hwloop") for each in tmp_path.rglob("*"))


def test_a_claim_that_is_removed_before_it_is_locked_is_made_again(monkeypatch):
    with address() as name:
        opened, calls = claim._opened, []

        def removing(path):
            file = opened(path)
            if not calls:
                Path(path).unlink()
            calls.append(path)
            return file

        monkeypatch.setattr(claim, "_opened", removing)
        held, other = Claim(name), Claim(name)
        held.take()
        assert len(calls) == 2
        with pytest.raises(hwloop.DeviceError, match="in use"):
            other.take()
        held.release()


def test_a_forked_process_does_not_keep_a_claim():
    with address() as name:
        held = Claim(name)
        held.take()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)  # lives on until the test ends
            os._exit(0)
        try:
            os.close(reading)
            with pytest.raises(hwloop.DeviceError, match="in use"):
                Claim(name).take()
            held.release()
            assert taken(name) == "taken"
        finally:
            os.close(writing)
            os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TCPIP::10.0.0.7::5025::SOCKET", " tcpip0::10.0.0.7::5025::socket"),
        ("GPIB::7::INSTR", "GPIB0::7"),
        ("USB0::0x0957::0x2807::MY1::INSTR", "USB::0x0957::0x2807::my1"),
        ("ASRL{tty}::INSTR", "{link}"),
    ],
)
def test_one_instrument_has_one_name(one, other, tmp_path):
    tty, link = tmp_path / "ttyUSB0", tmp_path / "by-id"
    tty.touch()
    link.symlink_to(tty)
    names = [text.format(tty=tty, link=link) for text in (one, other)]
    assert canonical(names[0]) == canonical(names[1])
