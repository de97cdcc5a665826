"""Trials on validation rows within a budget of device rows, then defaults and best on unseen test rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwloop.errors import BudgetExceeded, ConfigError, HwloopError
from hwloop.experiment.config import ExperimentConfig, validated
from hwloop.experiment.intervals import Interval, Summary, paired_difference
from hwloop.experiment.rigs import build_trainer
from hwloop.experiment.seed_run import seed_rows
from hwloop.experiments.arena.cell import (
    TEST,
    VALIDATION,
    Cell,
    CellResult,
    cell_config,
    cell_data,
    require_rig,
    run_cell,
)
from hwloop.experiments.campaign import Campaign, Progress, no_progress, without
from hwloop.experiments.draws import drawn, new_study, prune, told_of
from hwloop.experiments.tune.space import Space, as_settings, in_words, own_values
from hwloop.tasks import LearningTask, Metric
from hwloop.toml_text import with_overrides
from hwloop.training.tuning import Choice

DEFAULTS: tuple[str, ...] = ()


@dataclass(frozen=True)
class TuneSettings:
    """A search.

    Attributes
    ----------
    experiment
        With validation rows; its first seed parts the rows that the search sees.
    space
        What is tried, by key.
    trials
        Settings that are tried, the experiment's own first; at least 2.
    rows
        Device rows that search and test together may take; ``None`` for as many as the trials need.
    seeds
        Of the test at the end, all others than the search's; at least 1.
    """

    experiment: ExperimentConfig
    space: Space
    trials: int = 20
    rows: int | None = None
    seeds: int = 5

    def __post_init__(self) -> None:
        if self.trials < 2 or self.seeds < 1:
            raise ConfigError(
                f"a search needs 2 trials or more, the first with the experiment's own settings, and a seed to "
                f"test; not {self.trials} and {self.seeds}"
            )
        if not self.space:
            raise ConfigError(
                f"neither trainer nor device of {self.experiment.name} declares what may be searched; say "
                "what with --search KEY=LOW:HIGH[:log] or --search KEY=VALUE,VALUE"
            )

    @property
    def search_seed(self) -> int:
        """Of the rows that settings are chosen on."""
        return self.experiment.seeds[0]

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Of the test: none that the search has seen."""
        return tuple(self.search_seed + 1 + number for number in range(self.seeds))

    def as_table(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return {
            "experiment": self.experiment.as_table(),
            "space": in_words(self.space),
            "trials": self.trials,
            "rows": self.rows,
            "seeds": list(self.fresh_seeds),
        }


@dataclass(frozen=True)
class Trial:
    """Settings that are trained with on one seed, and on which rows they are judged."""

    settings: tuple[str, ...]
    seed: int
    judged_on: str

    @property
    def key(self) -> str:
        """Names it in the folder."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:20]


class TrialStore(Campaign[Trial, CellResult]):
    """Finished trials of a search's folder."""

    kind, settings_file, lines_file = "search", "tune.json", "trials.jsonl"

    def deciding(self, settings: Mapping[str, Any]) -> Any:
        """Other ranges, more trials, rows or seeds change no trial."""
        return without(settings, "seeds", "name", "description")

    def key(self, piece: Trial) -> str:
        return piece.key

    def line(self, piece: Trial, result: CellResult) -> dict[str, Any]:
        return {"trial": asdict(piece), "result": result.as_dict()}

    def read(self, line: Mapping[str, Any]) -> CellResult:
        return CellResult.from_dict(line["result"])


@dataclass(frozen=True)
class Tried:
    """What a trial of the search gave: its validation score, or why it could not be run."""

    settings: tuple[str, ...]
    score: float | None
    rows: int
    refused: str = ""


@dataclass(frozen=True)
class Tested:
    """One choice of settings on the test rows, a result a fresh seed."""

    settings: tuple[str, ...]
    validation: float
    results: tuple[CellResult, ...]

    def summary(self, key: str) -> Summary | None:
        """A score over the seeds, by its key; ``None`` where it is not known."""
        main = self.results[0].kind.metrics[0].key
        values = [result.network_score if key == main else result.figures.get(key) for result in self.results]
        known = [value for value in values if value is not None]
        return Summary(tuple(known)) if len(known) == len(values) else None


@dataclass(frozen=True)
class TuneResult:
    """What a search found.

    Attributes
    ----------
    tried
        In their order, the experiment's own settings first.
    defaults, best
        Tested with the same fresh seeds; the same object where no trial was better on the validation rows.
    rows
        Device rows that trials and tests announced, together; what was measured is no more.
    stopped
        Why the search ended before all trials were tried; empty where it did not.
    """

    settings: TuneSettings
    tried: tuple[Tried, ...]
    defaults: Tested
    best: Tested
    rows: int
    stopped: str = ""

    @property
    def kind(self) -> type[LearningTask]:
        """What kind of task it is."""
        return self.defaults.results[0].kind

    @property
    def metric(self) -> Metric:
        """The score that is compared."""
        return self.kind.metrics[0]

    @property
    def gain(self) -> Interval:
        """By how much the best is better than the defaults on test rows, paired by seed; positive is better."""
        ours, theirs = (tested.summary(self.metric.key) for tested in (self.best, self.defaults))
        assert ours is not None
        assert theirs is not None
        pair = (ours, theirs) if self.metric.higher_is_better else (theirs, ours)
        return paired_difference(*pair, overlap=max(result.overlap for result in self.best.results))


Say = Callable[[str], None]


def run_tune(
    settings: TuneSettings, folder: Path, progress: Progress = no_progress, say: Say = lambda text: None
) -> TuneResult:
    """Search, then test; what the folder holds already is not run again.

    Parameters
    ----------
    folder
        New, empty, or a search's on the same experiment.
    progress
        Called with what is done, how many and of how many.
    say
        Called before the first row with what the search may measure, and with what it decides.

    Raises
    ------
    BudgetExceeded
        The rows do not cover the experiment's own settings and one trial beside, both tested.
    ConfigError
        The folder holds something else, Optuna is missing, or a key of the search does not exist.
    DeviceError
        A device failed; the same call goes on with what was finished.
    """
    work = _Work(settings, progress, say)
    work.require_keys()
    work.require_covered()
    devices = require_rig(settings.experiment.as_table(), settings.search_seed)
    study = new_study(settings.search_seed, work.metric.higher_is_better)
    with TrialStore(folder, settings.as_table(), devices) as store:
        return work.run(store, study)


class _Work:
    """The search in progress."""

    def __init__(self, settings: TuneSettings, progress: Progress, say: Say) -> None:
        self.settings, self.progress, self.say = settings, progress, say
        self.table = settings.experiment.as_table()
        self.search = self.cost(Trial(DEFAULTS, settings.search_seed, VALIDATION))
        self.test = self.cost(Trial(DEFAULTS, settings.fresh_seeds[0], TEST))
        self.rows = 0
        self.dearest = self.test  # test of one seed, of all that was tried
        self.tried: dict[tuple[str, ...], Tried] = {}

    @property
    def metric(self) -> Metric:
        """The score that settings are chosen by."""
        return self._data_task.main

    def cost(self, trial: Trial) -> int:
        """Rows that a trial announces; raises where it cannot be built."""
        config = cell_config(self.experiment(trial), self.cell(trial))
        data = cell_data(config, self.cell(trial))
        self._data_task = data.task
        trainer = build_trainer(config, data.seed)
        trainer.require_serves(data.task)
        return seed_rows(config, trainer, data, first=False)

    def experiment(self, trial: Trial) -> dict[str, Any]:
        """The experiment's table with the trial's settings."""
        table = with_overrides(self.table, trial.settings)
        return validated(table, self.settings.experiment.name, trial.settings).as_table()

    def cell(self, trial: Trial) -> Cell:
        """What is trained, as the arena has it."""
        trainer = self.experiment(trial)["trainer"]
        return Cell(trainer["name"], trainer["settings"], trial.seed, trial.judged_on)

    def reserve(self, dearest: int) -> int:
        """Rows that testing defaults and best will take."""
        return self.settings.seeds * (self.test + dearest)

    def require_keys(self) -> None:
        """Refuse a key that nobody takes, whichever of its values is tried; nothing is measured."""
        for key, allowed in self.settings.space.items():
            values = allowed.values if isinstance(allowed, Choice) else (allowed.low, allowed.high)
            reasons = []
            for value in values:
                trial = Trial(as_settings({key: value}), self.settings.search_seed, VALIDATION)
                try:
                    self.cost(trial)
                    require_rig(self.experiment(trial), trial.seed)
                except HwloopError as error:
                    reasons.append(error)
                else:
                    break
            if len(reasons) == len(values):
                raise ConfigError(f"--search {key}: {reasons[0]}") from reasons[0]

    def require_covered(self) -> None:
        """Say what may be measured; refuse a budget that covers no trial beside the defaults."""
        settings = self.settings
        least = 2 * self.search + self.reserve(self.test)
        whole = settings.trials * self.search + self.reserve(self.test)
        self.say(
            f"forecast: {settings.trials} trials of {self.search:,} rows and {settings.seeds} seeds of "
            f"{self.test:,} rows to test defaults and best, {whole:,} rows with the experiment's own settings"
            + (f"; stopped before {settings.rows:,}" if settings.rows is not None else "")
        )
        if settings.rows is not None and least > settings.rows:
            raise BudgetExceeded(
                f"two trials and their test need {least:,} rows, but the budget is {settings.rows:,}; nothing was "
                f"measured. Give --rows {least:,} or more, or test fewer seeds"
            )

    def run(self, store: TrialStore, study: Any) -> TuneResult:
        """Trials, then the test."""
        stopped = self._search(store, study)
        known = {key: tried for key, tried in self.tried.items() if tried.score is not None}
        if DEFAULTS not in known:
            raise ConfigError(
                f"the experiment's own settings cannot be trained with: {self.tried[DEFAULTS].refused}"
            )
        sign = 1.0 if self.metric.higher_is_better else -1.0
        best = max(known, key=lambda key: sign * _score(known[key]))  # of equal ones the first, the defaults
        defaults = self._tested(store, DEFAULTS, known)
        chosen = defaults if best == DEFAULTS else self._tested(store, best, known)
        return TuneResult(self.settings, tuple(self.tried.values()), defaults, chosen, self.rows, stopped)

    def _search(self, store: TrialStore, study: Any) -> str:
        """Try one after the other; returns why it ended before the last."""
        self._try(store, DEFAULTS)
        if (score := self.tried[DEFAULTS].score) is not None:
            space = self.settings.space
            told_of(study, own_values(self.settings.experiment, space), dict(space), score)
        self.progress("tried", 1, self.settings.trials)
        for number in range(1, self.settings.trials):
            trial = study.ask()
            choice = {name: drawn(trial, name, allowed) for name, allowed in self.settings.space.items()}
            settings = as_settings(choice)
            if settings not in self.tried and not self._try(store, settings):
                return (
                    f"after {number} of {self.settings.trials} trials, for another one and the test of defaults "
                    f"and best could take more than the {self.settings.rows:,} rows"
                )
            found = self.tried[settings]
            if found.score is None:
                prune(study, trial)
            else:
                study.tell(trial, found.score)
            self.progress("tried", number + 1, self.settings.trials)
        return ""

    def _try(self, store: TrialStore, settings: tuple[str, ...]) -> bool:
        """Run a trial, or recall it; ``False``, and nothing was measured, where the budget does not cover it."""
        trial = Trial(settings, self.settings.search_seed, VALIDATION)
        try:
            rows, test = self.cost(trial), self.cost(Trial(settings, self.settings.fresh_seeds[0], TEST))
        except HwloopError as error:
            self.tried[settings] = Tried(settings, None, 0, str(error))
            return True
        dearest, budget = max(self.dearest, test), self.settings.rows
        if budget is not None and settings != DEFAULTS and self.rows + rows + self.reserve(dearest) > budget:
            return False
        result = self._ran(store, trial)
        self.rows, self.dearest = self.rows + rows, dearest
        bad = result.refused or not math.isfinite(result.network_score)
        score = None if bad else result.network_score
        self.tried[settings] = Tried(
            settings, score, rows, result.refused or ("" if score is not None else "no score")
        )
        return True

    def _tested(
        self, store: TrialStore, settings: tuple[str, ...], known: Mapping[tuple[str, ...], Tried]
    ) -> Tested:
        """Settings on the test rows, with every fresh seed."""
        results = []
        for number, seed in enumerate(self.settings.fresh_seeds, start=1):
            trial = Trial(settings, seed, TEST)
            self.rows += self.cost(trial)
            result = self._ran(store, trial)
            if result.refused:
                raise ConfigError(f"seed {seed} could not be tested with {_named(settings)}: {result.refused}")
            results.append(result)
            self.progress(f"tested {'defaults' if settings == DEFAULTS else 'best'}", number, self.settings.seeds)
        return Tested(settings, _score(known[settings]), tuple(results))

    def _ran(self, store: TrialStore, trial: Trial) -> CellResult:
        """The trial's result; its rows are kept until it is finished, and it is written down before the next."""
        found = store.find(trial)
        if found is None:
            found = run_cell(self.experiment(trial), self.cell(trial), store.rows_folder / trial.key)
            store.keep(trial, found)
        return found


def _score(tried: Tried) -> float:
    assert tried.score is not None
    return tried.score


def _named(settings: Sequence[str]) -> str:
    return ", ".join(settings) or "the experiment's own settings"
