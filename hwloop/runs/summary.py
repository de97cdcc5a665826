"""List runs: one line for each, read from what it wrote, quick enough for hundreds of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hwloop.errors import ConfigError
from hwloop.journal.chunk import ChunkFile, Located
from hwloop.journal.frame import ROWS
from hwloop.runs.files import MetricsSummary, UnreadableError, summarise_metrics
from hwloop.runs.index_check import index_summary
from hwloop.runs.layout import METRICS, RUNS, STATE, is_run, journal_folders, read_state
from hwloop.runs.notes import notes_of
from hwloop.runs.recorded_rows import require_chunks

BROKEN = "broken"
ACCURACY = "accuracy"


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes
    ----------
    state
        ``running``, ``finished``, ``interrupted``, ``failed``; or ``broken``, where the folder cannot say.
    rows
        Rows measured, over all seeds and devices.
    test_accuracy
        Mean over the ``seeds_finished``, in [0, 1]; ``None`` before the first, and where classes are not the task.
    test_score, score_name, score_text
        The same for every task, in its own unit; the name of its score; as a person reads it.
    notes, tags
        Of the beginning, and those that were added.
    detail
        Why it failed, or what is broken.
    """

    name: str
    path: str
    state: str
    experiment: str = ""
    device: str = ""
    started_seconds: float | None = None
    rows: int | None = None
    test_accuracy: float | None = None
    seeds_finished: int = 0
    is_final: bool = False
    detail: str = ""
    test_score: float | None = None
    score_name: str = ""
    score_text: str = ""
    notes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def list_runs(folder: Path = RUNS) -> list[RunSummary]:
    """Every run in a folder, oldest first, broken ones at the end; the run itself if the folder is one's.

    Raises
    ------
    ConfigError
        The folder is not there or cannot be read; that there are no runs yet is no error.
    """
    try:
        if is_run(folder):
            return [summary_of(folder)]
        if folder == RUNS and not folder.exists():
            return []
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} cannot be read ({error}); give the folder that holds your runs") from error
    runs = [summary_of(path) for path in inside if _is_folder(path)]
    return sorted(runs, key=lambda run: (run.started_seconds is None, run.started_seconds or 0.0, run.name))


def summary_of(folder: Path) -> RunSummary:
    """One run's line; never an error, whatever lies in the folder."""
    name, path = folder.name or folder.resolve().name, str(folder)
    try:
        if not is_run(folder):
            return RunSummary(name, path, BROKEN, detail="holds no run")
        rows = sum(rows_recorded(journal.path) for journal in journal_folders(folder))
    except (OSError, ValueError) as error:
        return RunSummary(name, path, BROKEN, detail=f"cannot be read ({error})")
    progress = _progress(folder)
    found = RunSummary(
        name,
        path,
        BROKEN,
        started_seconds=progress.started_seconds,
        rows=rows,
        seeds_finished=progress.seeds_finished,
        is_final=progress.is_final,
        **_scored(progress),
        **_noted(folder),
    )
    try:
        now = read_state(folder)
    except UnreadableError as error:
        return replace(found, detail=f"{STATE} {error}")
    started = now.since_seconds if found.started_seconds is None else found.started_seconds
    return replace(
        found,
        state=now.state,
        experiment=now.experiment,
        device=now.device,
        started_seconds=started,
        detail=now.detail,
    )


def rows_recorded(journal: Path) -> int:
    """Rows in a journal: those that its index knows, and those that were written since."""
    try:
        rows, chunk, start = index_summary(journal)
    except UnreadableError:
        rows = chunk = start = 0
    for number in require_chunks(journal):
        if number < chunk:
            continue
        with ChunkFile(journal, number) as file:
            for found in file.scan(start if number == chunk else 0):
                if isinstance(found, Located) and found.header["kind"] == ROWS:
                    rows += found.header["rows"]
    return rows


def _scored(progress: MetricsSummary) -> dict[str, Any]:
    score, metric = progress.test_score, progress.metric
    if score is None:
        return {}
    named = "" if metric.key == ACCURACY or progress.text.startswith(metric.title) else f"{metric.title} "
    found = {"test_score": score, "score_name": metric.key, "score_text": f"{named}{progress.text}"}
    return found | ({"test_accuracy": score} if metric.key == ACCURACY else {})


def _noted(folder: Path) -> dict[str, Any]:
    notes, tags = notes_of(folder)
    return {"notes": tuple(notes), "tags": tuple(tags)}


def _progress(folder: Path) -> MetricsSummary:
    try:
        return summarise_metrics(folder / METRICS)
    except UnreadableError:
        return MetricsSummary()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return True  # let its line say why it cannot be read
