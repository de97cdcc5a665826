"""Look at runs without touching them: list, verify, export.

Nothing here keeps a lock, writes to a run, or needs torch.
"""

from hwloop.runs.export import FORMATS, export_run
from hwloop.runs.summary import RunSummary, list_runs, summary_of
from hwloop.runs.verification import Verification, verify_run

__all__ = ["FORMATS", "RunSummary", "Verification", "export_run", "list_runs", "summary_of", "verify_run"]
