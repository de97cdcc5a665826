"""Train at the first position of a moving device, then follow it with every policy, step by step, kept on disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwloop.adapt import Adapter, Anchors
from hwloop.adapt import policy as policy_named
from hwloop.adapt.adapter import check_step
from hwloop.device import DeviceDescription
from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig, validated
from hwloop.experiment.partition import partition
from hwloop.experiment.seed_run import prepare_seed
from hwloop.experiments.campaign import DEVICES, Campaign, Progress, no_progress, without
from hwloop.experiments.dataset import split
from hwloop.experiments.drift.moving import Moving, MovingRig
from hwloop.layers import PhysicalNetwork
from hwloop.registry import ADAPTERS, nearest
from hwloop.tasks import Classification, LearningTask, Metric, kind_of
from hwloop.toml_text import with_overrides


@dataclass(frozen=True)
class SeedCourse:
    """How one policy fared on one seed.

    Attributes
    ----------
    scores, rows, drift
        One a position; a drift that was not looked for is ``None``.
    correlation
        Of the responses at each position with the first.
    kind
        Of the task; the scores are its main ones.
    """

    uses_model: bool
    scores: list[float]
    rows: list[int]
    drift: list[float | None]
    correlation: list[float]
    kind: type[LearningTask] = Classification

    def __post_init__(self) -> None:
        if len({len(part) for part in (self.scores, self.rows, self.drift, self.correlation)}) != 1:
            raise ValueError("a course has a score, rows, a drift and a correlation at each position")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file."""
        named: dict[str, Any] = {} if self.kind is Classification else {"task": self.kind.kind}
        rest = {"rows": self.rows, "drift": self.drift, "correlation": self.correlation}
        return {"uses_model": self.uses_model, self.kind.metrics[0].key: self.scores, **rest, **named}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> SeedCourse:
        """What :meth:`as_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
        """
        kind, rest = kind_of(found), dict(found)
        rest.pop("task", None)
        return cls(scores=rest.pop(kind.metrics[0].key), kind=kind, **rest)


class PolicySeed(NamedTuple):
    """A policy on a seed: a piece of work."""

    policy: str
    seed: int


class CourseStore(Campaign[PolicySeed, SeedCourse]):
    """Finished courses of a drift run's folder; more policies and seeds may join."""

    kind, settings_file, lines_file = "drift run", "drift-settings.json", "courses.jsonl"

    def deciding(self, settings: Mapping[str, Any]) -> Any:
        """All else must be as it was."""
        rest = {key: value for key, value in settings.items() if key not in ("policies", DEVICES)}
        return rest | {"experiment": without(settings, "seeds", "name", "description")}

    def key(self, piece: PolicySeed) -> str:
        return f"{piece.policy} seed {piece.seed}"

    def line(self, piece: PolicySeed, result: SeedCourse) -> dict[str, Any]:
        return {**piece._asdict(), "course": result.as_dict()}

    def read(self, line: Mapping[str, Any]) -> SeedCourse:
        return SeedCourse.from_dict(line["course"])


UNTOUCHED = "none"  # the policy that does nothing
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class DriftSettings:
    """What is run.

    Attributes
    ----------
    experiment
        Data, device, network and trainer.
    key, values
        The setting that moves, such as ``device.settings.position``, and what it goes through.
    policies
        Names; ``none`` leaves the network untouched; ``:unlabelled`` behind a name gives the policy rows of the
        training set that are no anchors to it, without their labels.
    rows_a_step, gate
        As :class:`hwloop.adapt.Adapter` takes them.
    """

    experiment: ExperimentConfig
    key: str
    values: tuple[Any, ...]
    policies: tuple[str, ...]
    rows_a_step: int = 200
    gate: float = 0.1

    def as_table(self) -> dict[str, Any]:
        """As plain numbers, texts and lists, for a file."""
        moves = {"key": self.key, "values": list(self.values)}
        steps = {"rows_a_step": self.rows_a_step, "gate": self.gate}
        return {"experiment": self.experiment.as_table(), "policies": list(self.policies), **moves, **steps}


@dataclass(frozen=True, eq=False)
class PolicyCourse:
    """How one policy fared: main scores, rows and measured drift, each of shape (seeds, positions)."""

    policy: str
    uses_model: bool
    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    drift: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DriftResult:
    """All courses, and the correlation of the responses at each position with the first, (seeds, positions)."""

    settings: DriftSettings
    courses: tuple[PolicyCourse, ...]
    correlation: NDArray[np.float64]
    metric: Metric


def run_drift(settings: DriftSettings, folder: Path, progress: Progress = no_progress) -> DriftResult:
    """Every policy on every seed; what the folder holds already is not run again.

    Parameters
    ----------
    folder
        New, empty, or of a drift run that differs in policies and seeds alone.
    progress
        Called with a policy, how many of its seeds are done, and of how many.

    Raises
    ------
    ConfigError
        An unknown policy or setting, a policy that the network does not suit, or another run's folder.
    DeviceError
        A device failed; what was finished stays in the folder, and the same call goes on with it.
    """
    for name in settings.policies:
        _check_name(name)
    config = settings.experiment
    check_step(settings.rows_a_step, settings.gate, config.network.stages, len(config.device))
    every = [_Seed(settings, seed) for seed in config.seeds]
    with CourseStore(folder, settings.as_table(), every[0].devices) as store:
        for done, one in enumerate(every, start=1):
            missing = [name for name in settings.policies if store.find(PolicySeed(name, one.seed)) is None]
            if missing:
                for name, course in one.courses(missing, store.rows_folder / f"seed-{one.seed}"):
                    store.keep(PolicySeed(name, one.seed), course)
                    progress(name, done, len(every))
            for name in settings.policies:
                if name not in missing:
                    progress(name, done, len(every))
        found = {name: [store.find(PolicySeed(name, seed)) for seed in config.seeds] for name in settings.policies}
    courses = {name: [course for course in per_seed if course is not None] for name, per_seed in found.items()}
    correlation = np.array([course.correlation for course in next(iter(courses.values()))])
    together = tuple(_together(name, parts) for name, parts in courses.items())
    return DriftResult(settings, together, correlation, every[0].data.task.main)


def _together(name: str, courses: Sequence[SeedCourse]) -> PolicyCourse:
    """One policy's courses on all seeds."""
    drift = np.array([[math.nan if d is None else d for d in course.drift] for course in courses])
    scores, rows = np.array([c.scores for c in courses]), np.array([c.rows for c in courses])
    return PolicyCourse(name, courses[0].uses_model, scores, rows, drift)


class _Seed:
    """One seed: the network as trained, which every policy gets a copy of."""

    def __init__(self, settings: DriftSettings, seed: int) -> None:
        self.settings, self.seed, config = settings, seed, settings.experiment
        fractions = config.split
        self.data = partition(config.dataset.build(), seed, split, fractions.test, 0.0)
        # What is unusable is refused before anything runs.
        if self.data.task.steps > 1:
            raise ConfigError(
                f"{config.name} learns a target at every step by a readout alone, and drift is mended in the maps "
                "of stages; take an experiment with a target a row, such as digits-fibre"
            )
        for name in settings.policies:
            if (policy := name.partition(":")[0]) != UNTOUCHED:
                policy_named(policy).require_serves(self.data.task)
        run = prepare_seed(config, self.data, self._rig(), None, lambda event: None)
        #: What the devices are, as far as they can say while they are closed.
        self.devices: list[DeviceDescription] = [each.device.describe() for each in run.distinct_sessions]

    def _rig(self, rows: Path | None = None) -> MovingRig:
        config, settings = self.settings.experiment, self.settings
        table = config.as_table()
        return MovingRig(config, [_at(table, settings.key, value) for value in settings.values], rows)

    def courses(self, policies: Sequence[str], rows: Path) -> Iterator[tuple[str, SeedCourse]]:
        """Train at the first position, then follow with each policy; rows in the folder are not measured again."""
        with self._rig(rows) as rig:
            self._run = prepare_seed(self.settings.experiment, self.data, rig, None, lambda event: None)
            self._train()
            for name in policies:
                yield name, self._follow(name, rig.copy_for(name, self._run.network))
        rig.drop_reproducible()

    def _train(self) -> None:
        train = self.data.train
        self._run.trainer.fit(self._run.network, train.inputs, train.targets, **self.data.fit_options)
        self.anchors = Anchors.record(self._run.network, train.inputs, train.targets)
        self._correlation = self._measured_correlation()

    def _measured_correlation(self) -> list[float]:
        """Of the first stage's responses to the anchors about their means, with those of the first position."""
        network = self._run.network
        device = _moving(network)[0]
        _, stage, session = next(iter(network))
        stimuli = stage.encoder(self.anchors.stages[0].inputs)
        answers = []
        for position in range(len(device.positions)):
            device.move_to(position)
            answers.append(session.measure(stimuli, "calibrate", tuning=stage.tuning))
        device.move_to(0)
        first, *_ = centred = [answer - answer.mean(axis=0) for answer in answers]
        return [float(np.sum(first * c) / np.sqrt(np.sum(first**2) * np.sum(c**2))) for c in centred]

    def _follow(self, name: str, network: PhysicalNetwork) -> SeedCourse:
        """A copy of the trained network through all positions."""
        policy, _, rows_seen = name.partition(":")
        adapter = None
        if policy != UNTOUCHED:
            settings = self.settings
            adapter = Adapter(network, policy, self.anchors, rows_a_step=settings.rows_a_step, gate=settings.gate)
        rng = np.random.default_rng(self.data.seed)
        scores, rows, drift = [], [], []
        for position in range(len(self.settings.values)):
            for device in _moving(network):
                device.move_to(position)
            for session in network.distinct_sessions:
                session.forget()  # the judge sees the device as it is, whatever the policy knows
            done = None
            if adapter is not None and position > 0:
                done = adapter.step(unlabelled=self._drawn(rng, adapter) if rows_seen else None)
            test = self.data.test
            scores.append(self.data.task.score(test.targets, network.predict(test.inputs)))
            rows.append(0 if done is None else done.rows)
            drift.append(None if done is None else done.drift)
        uses_model = adapter is not None and adapter.policy.uses_model
        return SeedCourse(uses_model, scores, rows, drift, self._correlation, type(self.data.task))

    def _drawn(self, rng: np.random.Generator, adapter: Adapter) -> NDArray[np.float64]:
        """As many training rows as fit a step, at random."""
        inputs = self.data.train.inputs
        room = (adapter.rows_a_step - 8 * len(adapter.network.distinct_sessions)) // len(adapter.network)
        return inputs[rng.choice(len(inputs), size=min(room, len(inputs)), replace=False)]


def _check_name(name: str) -> None:
    """Refuse an unknown policy before anything is measured.

    Raises
    ------
    ConfigError
    """
    policies, _, rows_seen = name.partition(":")
    if rows_seen not in ("", UNLABELLED):
        raise ConfigError(f"{name!r}: behind a policy's name stands :{UNLABELLED} or nothing")
    for part in policies.split("+"):
        if ":" not in part and part not in {*ADAPTERS.entries(), UNTOUCHED}:
            raise ConfigError(
                f"unknown {ADAPTERS.kind} {part!r}: {nearest(part, [UNTOUCHED, *ADAPTERS.entries()])}"
            )


def _moving(network: PhysicalNetwork) -> list[Moving]:
    return [session.device for session in network.distinct_sessions if isinstance(session.device, Moving)]


def _at(table: Mapping[str, Any], key: str, value: Any) -> ExperimentConfig:
    return validated(with_overrides(dict(table), [f"{key}={value}"]), "drift")


def parsed_positions(text: str) -> tuple[str, tuple[Any, ...]]:
    """``"KEY=FIRST..LAST"`` or ``"KEY=A,B,C"``: the setting that moves, and what it goes through.

    Raises
    ------
    ConfigError
    """
    key, equals, values = text.partition("=")
    first, dots, last = values.partition("..")
    parts: Sequence[Any] = [part for part in values.split(",") if part]
    if dots:
        if not (first.strip().isdigit() and last.strip().isdigit() and int(first) < int(last)):
            raise ConfigError(f"{text!r}: a range is two whole numbers, the smaller one first, such as 0..26")
        parts = range(int(first), int(last) + 1)
    if not (key and equals) or len(parts) < 2:
        raise ConfigError(
            "--through takes a setting and at least two values, such as device.settings.position=0..26, "
            f"not {text!r}"
        )
    return key, tuple(parts)
