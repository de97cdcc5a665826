"""Where a session stands between two jobs: what a run that goes on from a checkpoint passes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """How far a session has come in its journal, and what it has counted till then.

    Attributes
    ----------
    rows
        Rows of the journal that lie behind it.
    settings
        Fingerprint of the device that answered them.
    measured, recalled, reused
        Rows by purpose, as its ledger counts them.
    """

    rows: int
    settings: str
    measured: Mapping[str, int]
    recalled: Mapping[str, int]
    reused: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "rows": self.rows,
            "settings": self.settings,
            "measured": dict(self.measured),
            "recalled": dict(self.recalled),
            "reused": dict(self.reused),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Place:
        """What :meth:`as_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
        """
        counts = [{str(k): int(v) for k, v in found[name].items()} for name in ("measured", "recalled", "reused")]
        return cls(int(found["rows"]), str(found["settings"]), *counts)
