"""Notes and tags of a run: those of its beginning, in ``run.toml``, and those that were added since."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hwloop.errors import ConfigError, JournalError
from hwloop.runs.files import UnreadableError, parse_object, read_lines, read_toml
from hwloop.runs.layout import CONFIG, NOTES, require_run

TAG = re.compile(r"[^\s,]{1,40}")
LONGEST_NOTE = 10_000


def check_tag(tag: str) -> str:
    """A tag as it is; raises ``ValueError`` for one that is empty, too long, or holds spaces or commas."""
    if not TAG.fullmatch(tag) or not tag.isprintable():
        raise ValueError(f"a tag is one word of at most 40 letters without a comma, not {tag!r}")
    return tag


def check_note(note: str) -> str:
    """A note without space around it; raises ``ValueError`` for one that is empty or too long."""
    note = note.strip()
    if not 0 < len(note) <= LONGEST_NOTE:
        raise ValueError(f"a note has 1 to {LONGEST_NOTE:,} letters, not {len(note):,}")
    return note


def add_notes(run: Path, notes: Iterable[str], tags: Iterable[str]) -> None:
    """Add notes and tags to a run, finished or not; nothing else of it is touched.

    Raises
    ------
    ConfigError
        The folder holds no run, or a note or tag cannot be taken.
    JournalError
        The file cannot be written.
    """
    require_run(run)
    try:
        entries: list[dict[str, str]] = [{"note": check_note(note)} for note in notes]
        entries += [{"tag": check_tag(tag)} for tag in tags]
    except ValueError as error:
        raise ConfigError(f"{run}: {error}") from error
    path = run / NOTES
    if path.is_symlink():
        raise ConfigError(f"{path} is a symbolic link, which is not followed")
    try:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"time": round(time.time(), 3), **entry}) + "\n" for entry in entries)
    except OSError as error:
        raise JournalError(
            f"{path} cannot be written ({error.strerror}); check the disk and its rights"
        ) from error


def later_notes(run: Path) -> tuple[list[str], list[str]]:
    """Notes and tags that were added to a run; a line that cannot be read counts as absent."""
    notes: list[str] = []
    tags: list[str] = []
    try:
        for line in read_lines(run / NOTES):
            try:
                entry = parse_object(line)
            except UnreadableError:
                continue
            notes += _texts([entry.get("note")])
            tags += _texts([entry.get("tag")])
    except UnreadableError:
        pass
    return notes, tags


def notes_of(run: Path) -> tuple[list[str], list[str]]:
    """All notes and tags of a run, each tag once."""
    try:
        about = read_toml(run / CONFIG).get("about")
    except UnreadableError:
        about = None
    table: Mapping[str, Any] = about if isinstance(about, dict) else {}
    notes, tags = later_notes(run)
    return [*_texts(table.get("notes")), *notes], list(dict.fromkeys([*_texts(table.get("tags")), *tags]))


def _texts(found: Any) -> list[str]:
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
