"""Take the rows of earlier runs into a new one, so that it never needs those runs again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwloop.errors import ConfigError
from hwloop.experiment.config import ReuseConfig
from hwloop.journal import DiskJournal, Note, ReadOnlyJournal, Record
from hwloop.journal.folders import sync_folder
from hwloop.runs.layout import REUSED, journal_folders, require_run
from hwloop.session.reference_monitor import RESTANDARDISED
from hwloop.session.row_ages import fresh
from hwloop.session.same_device import DEVICE


def take_earlier_rows(run: Path, reuse: ReuseConfig) -> None:
    """Copy every row of the earlier runs that is fresh enough into ``run``, once; there is nothing to do twice.

    Which of them a device may use is decided when it is opened: those that were measured on the same device
    under the same settings.

    Raises
    ------
    ConfigError
        An earlier run is not there, or none of its rows is fresh enough.
    JournalError
        The copy cannot be written.
    """
    whole = run / REUSED
    if not reuse.runs or whole.is_dir():
        return
    part = run / f"{REUSED}.part"
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed while it copied
    journal = DiskJournal(part)
    try:
        for note in _devices(_journals(reuse.runs)):
            journal.note(note)
        for record in _fresh(_journals(reuse.runs), reuse.max_age_seconds):
            journal.append(replace(record, first_row=journal.rows))
        rows = journal.rows
    finally:
        journal.close()
    if not rows:
        shutil.rmtree(part)
        limit = "" if reuse.max_age_seconds is None else f" younger than {reuse.max_age_seconds:g} s"
        raise ConfigError(
            f"{', '.join(reuse.runs)}: no rows{limit} to reuse; give a run that has measured some, a larger "
            "reuse.max_age_seconds, or no --reuse"
        )
    part.rename(whole)
    sync_folder(run)


def _journals(runs: Sequence[str]) -> list[Path]:
    """The journals of earlier runs, what they took from still earlier ones first: what is newer wins."""
    found = []
    for run in map(Path, runs):
        require_run(run)
        if (run / REUSED).is_dir():
            found.append(run / REUSED)
        found += [journal.path for journal in journal_folders(run)]
    return found


def _devices(journals: Sequence[Path]) -> Iterator[Note]:
    """The notes that say which devices the rows are of, each once."""
    seen = set()
    for path in journals:
        journal = ReadOnlyJournal(path)
        try:
            for note in journal.notes():
                if note.kind == DEVICE and note.details.get("settings") not in seen:
                    seen.add(note.details.get("settings"))
                    yield note
        finally:
            journal.close()


def _fresh(journals: Sequence[Path], max_age_seconds: float | None) -> Iterator[Record]:
    limit = float("inf") if max_age_seconds is None else max_age_seconds
    now = time.time()
    for path in journals:
        journal = ReadOnlyJournal(path)
        # From the first correction on that run took the device for another than the one it had begun with.
        corrected = [note.details["row"] for note in journal.notes() if note.kind == RESTANDARDISED]
        end = min(corrected, default=float("inf"))
        try:
            rows = np.arange(journal.rows)
            rows = rows[journal.readable(rows)]
            is_fresh = fresh(journal.started_seconds(rows), now, limit)
            for record in journal.records():
                if is_fresh[np.searchsorted(rows, record.first_row)] and record.first_row < end:
                    yield record
        finally:
            journal.close()
