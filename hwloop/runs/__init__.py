"""Look at runs without touching them: list, verify, export.

Nothing here keeps a lock, writes to a run, or needs torch. Names resolve when they are first used: who needs the
layout of a run alone loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwloop.runs.export import FORMATS, export_run
    from hwloop.runs.summary import RunSummary, list_runs, summary_of
    from hwloop.runs.verification import Verification, verify_run

_HOMES = {
    "export": ("FORMATS", "export_run"),
    "summary": ("RunSummary", "list_runs", "summary_of"),
    "verification": ("Verification", "verify_run"),
}

__all__ = ["FORMATS", "RunSummary", "Verification", "export_run", "list_runs", "summary_of", "verify_run"]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
