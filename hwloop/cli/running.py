"""``hwloop.run``: what the command ``hwloop run`` does, as a function; and what is shown of a run, and where."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwloop.events import Event, Listener
    from hwloop.experiment.config import ExperimentConfig
    from hwloop.experiment.evidence import Evidence

DEFAULT_EXPERIMENT = "digits-optical"
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Texts = str | Sequence[str]
Settings = Mapping[str, Any] | Sequence[str] | None


class RunView:
    """What is shown of a run: nothing. Other views derive from this one."""

    def begun(self, folder: Path) -> None:
        """The run has a folder, and nothing is measured yet."""

    @contextmanager
    def running(self) -> Iterator[Sequence[Listener]]:
        """While the run goes on; the listeners are told its events."""
        yield []

    def finished(self, evidence: Evidence) -> None:
        """The run is over."""


class ConsoleView(RunView):
    """Progress and hints on standard error; at the end the evidence as a table on standard output."""

    def __init__(self) -> None:
        from hwloop.cli.console import new_console

        self.errors = new_console(stderr=True)

    @contextmanager
    def running(self) -> Iterator[Sequence[Listener]]:
        from hwloop.cli.console import shown_warnings
        from hwloop.cli.run_display import RunProgress

        with shown_warnings(self.errors), RunProgress(self.errors) as progress:
            yield [progress, self._stopped]

    def _stopped(self, event: Event) -> None:
        kept = what_is_kept(event)
        if kept:
            self.said(kept)

    def said(self, kept: str) -> None:
        """The run has stopped early; what is kept of it, in words."""
        self.errors.print(kept, highlight=False, markup=False, soft_wrap=True)

    def finished(self, evidence: Evidence) -> None:
        from hwloop.cli.console import new_console
        from hwloop.cli.run_display import show_evidence

        show_evidence(evidence, new_console())
        self.named(evidence)

    def named(self, evidence: Evidence) -> None:
        """Say where the report is."""
        self.errors.print(f"report: {report_of(evidence)}", highlight=False, soft_wrap=True)


class NotebookView(ConsoleView):
    """Progress below the cell, and at the end the whole report in a frame."""

    def finished(self, evidence: Evidence) -> None:
        from hwloop.html_report.summary import framed

        notebook = importlib.import_module("IPython.display")  # a notebook has it, nobody else needs it
        notebook.display(notebook.HTML(framed(report_of(evidence).read_text(encoding="utf-8"))))
        self.named(evidence)


def what_is_kept(event: Event) -> str:
    """What is on disk of a run that has just stopped early, and how to go on; empty for every other event."""
    from hwloop.errors import TrainingDiverged
    from hwloop.experiment.events import RunStopped

    if not (isinstance(event, RunStopped) and Path(event.run_dir).is_dir()):
        return ""
    kept = f"{event.seeds_finished} of {event.n_seeds} seeds finished, kept in {event.run_dir}"
    if event.reason.startswith(TrainingDiverged.__name__):  # resuming would only repeat it
        return kept
    return f"{kept}; go on with: hwloop resume {event.run_dir}"


def report_of(evidence: Evidence) -> Path:
    """The HTML file of a run's report."""
    from hwloop.experiment.report import REPORT

    return Path(evidence.run_dir) / REPORT


def run(
    experiment: str | os.PathLike[str] = DEFAULT_EXPERIMENT,
    *,
    data: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    settings: Settings = (),
    seeds: int | Sequence[int] | None = None,
    out: str | os.PathLike[str] | None = None,
    reuse: Paths = (),
    floors: bool | None = None,
    tensorboard: bool = False,
    notes: Texts = (),
    tags: Texts = (),
    listeners: Sequence[Listener] = (),
    show: bool | RunView = True,
) -> Evidence:
    """Train a physical network, and show what the physics is worth: what the command ``hwloop run`` does.

    Parameters
    ----------
    experiment
        A name of ``hwloop list``, or a TOML file.
    data
        A file, or ``module:function``, to learn from in the place of the experiment's dataset; or the entries of
        ``[dataset]``, such as ``{"file": "wine.csv", "target": "quality"}``.
    settings
        Entries to change, ``{"device.settings.n_outputs": 200}``; or text as ``--set`` takes it,
        ``["device.settings.n_outputs=200"]``.
    seeds
        How many seeds, or which: 3 is ``[0, 1, 2]``.
    out
        The run's folder, new or empty; by default ``runs/<time>-<name>``.
    reuse
        Folders of earlier runs on the same device, or one, whose rows are not measured again.
    floors
        Whether to score floors too; ``None`` for what the experiment says.
    tensorboard
        Write curves for TensorBoard into the run's folder.
    notes, tags
        What should be remembered of the run, and words to find it by, one text or several; they change nothing.
    listeners
        Called with every :class:`hwloop.events.Event`, some on the device's thread.
    show
        Show progress and, at the end, the evidence: as a table in a terminal, as the report in a notebook.

    Returns
    -------
    :class:`hwloop.experiment.evidence.Evidence`
        Scores beside floors, with the rows that they took; ``as_json()`` is what ``--json`` prints,
        ``run_dir`` is the run's folder.

    Raises
    ------
    ConfigError, DatasetError, BudgetExceeded
        Before anything is measured.
    DeviceError
        If a device fails. What was measured stays in the folder, and ``hwloop resume`` goes on from there.

    Examples
    --------
    >>> evidence = hwloop.run("digits-optical", seeds=1, floors=False)  # doctest: +SKIP
    """
    from hwloop.experiment.run_folder import run_in_free_folder

    about = {name: _several(texts) for name, texts in (("about.notes", notes), ("about.tags", tags)) if texts}
    config = configured(experiment, settings, seeds, reuse, floors, tensorboard, data, about)
    view = show if isinstance(show, RunView) else _view() if show else RunView()
    with run_in_free_folder(config.name, None if out is None else Path(out)) as folder:
        from hwloop.experiment.runner import run_experiment
        from hwloop.experiments.datasets import split

        view.begun(folder)
        with view.running() as shown:
            evidence = run_experiment(config, split, out=folder, listeners=[*shown, *listeners])
        view.finished(evidence)
    return evidence


def configured(
    experiment: str | os.PathLike[str],
    settings: Settings = (),
    seeds: int | Sequence[int] | None = None,
    reuse: Paths = (),
    floors: bool | None = None,
    tensorboard: bool = False,
    data: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> ExperimentConfig:
    """The configuration that :func:`run` takes; a mistake shows at once, for torch and the rest take seconds.

    Raises
    ------
    ConfigError
    """
    from hwloop.errors import ConfigError
    from hwloop.experiment.config import check_names, load_experiment
    from hwloop.experiments.datasets import experiment_file
    from hwloop.runs.layout import require_run
    from hwloop.toml_text import setting_text

    given = _setting_texts(settings)
    if not isinstance(seeds, Integral | Iterable | None):
        raise ConfigError(f"seeds are a whole number, how many, or a list of whole numbers; not {seeds!r:.100}")
    counted = list(seeds) if isinstance(seeds, Iterable) else seeds
    options = [] if counted is None else [setting_text("seeds", counted)]
    options += [setting_text(*entry) for entry in about.items()]
    options += ["run.tensorboard=true"] if tensorboard else []
    options += [f"evidence.floors={str(floors).lower()}"] if floors is not None else []
    earlier_runs = [str(Path(run).absolute()) for run in _several(reuse)]
    options += [setting_text("reuse.runs", earlier_runs)] if earlier_runs else []
    if not isinstance(data, str | os.PathLike | Mapping | None):
        raise ConfigError(f"data is a file, module:function, or the entries of [dataset]; not {data!r:.100}")
    own = [] if data is None else data_settings({"file": data} if not isinstance(data, Mapping) else data)
    config = load_experiment(experiment_file(os.fspath(experiment)), [*own, *given, *options])
    check_names(config)
    for earlier in config.reuse.runs:
        require_run(Path(earlier))
    return config


def _several(given: Any) -> list[Any]:
    """A list of what was given alone, or as several."""
    return [given] if isinstance(given, str | os.PathLike) else list(given)


def _setting_texts(settings: Settings) -> list[str]:
    from hwloop.errors import ConfigError
    from hwloop.toml_text import setting_text

    if isinstance(settings, Mapping):
        return [setting_text(*entry) for entry in settings.items()]
    several = [] if settings is None else settings
    if isinstance(several, str) or not isinstance(several, Iterable):
        what = "the text " if isinstance(several, str) else ""
        raise ConfigError(f"settings are a mapping, or a list of texts; not {what}{settings!r:.100}")
    return list(several)


def data_settings(said: Mapping[str, Any]) -> list[str]:
    """The settings that put data of the user's own into an experiment, which is called after them.

    Parameters
    ----------
    said
        Entries of ``[dataset]``; without a file those that change the experiment's own. ``None`` and empty ones
        are left out.
    """
    from hwloop.experiment.headline import run_name
    from hwloop.toml_text import setting_text

    entries = {key: value for key, value in said.items() if value not in (None, (), [])}
    if "file" not in entries and "name" not in entries:
        return [setting_text(f"dataset.{key}", value) for key, value in entries.items()]
    source = os.fspath(entries.get("file") or entries["name"])
    path = Path(source)
    if ":" in source and not path.exists():
        entries = {"name": source} | {key: value for key, value in entries.items() if key != "file"}
    else:
        entries["file"] = os.path.abspath(path.expanduser())
    called = run_name(path.stem.rpartition(":")[2])
    target = entries.get("target")
    target = [target] if isinstance(target, str) else target
    description = path.name + (f", target {', '.join(target)}" if target else "")
    return [
        setting_text("dataset", entries),
        setting_text("name", called),
        setting_text("description", description),
    ]


def _view() -> RunView:
    from rich.console import Console

    return NotebookView() if Console().is_jupyter else ConsoleView()
