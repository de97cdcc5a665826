"""Journals: every row that a device answered is recorded before it is used."""

from hwloop.journal.disk import DiskJournal, ReadOnlyJournal
from hwloop.journal.in_memory import InMemoryJournal
from hwloop.journal.record import Journal, Note, Record

__all__ = ["DiskJournal", "InMemoryJournal", "Journal", "Note", "ReadOnlyJournal", "Record"]
