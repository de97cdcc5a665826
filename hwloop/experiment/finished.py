"""What a run has finished is kept as it is finished, so that a run which goes on computes none of it again."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from hwloop.device import DeviceSpec
from hwloop.errors import HwloopWarning, JournalError
from hwloop.experiment.columns import Score
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.provenance import made_with, unlike
from hwloop.experiment.results import DeviceResponse, SeedResult, Sweep
from hwloop.journal.durable_files import atomic_write
from hwloop.runs.checkpoints import checksum
from hwloop.runs.layout import FINISHED_WORK, journal_folders
from hwloop.session.account import Place
from hwloop.tasks import Classification, LearningTask, kind_of

UNKNOWN_TASK = Classification(0)  # of a seed that is not finished


class UnfitError(Exception):
    """Something that was kept cannot be used; says why."""


@dataclass
class FinishedSeed:
    """What is finished of one seed.

    Attributes
    ----------
    scores
        Of floors, by method.
    places
        Where the seed's sessions stood after the methods that measure.
    result
        Of the whole seed; ``None`` while it runs.
    device_versions
        Of the software behind its devices.
    task, forecast
        For the report: what was learned, and what the run said that it would measure (a ``RunForecast``).
    responses
        How the devices answered, of the seed that the report shows.
    """

    scores: dict[str, Score] = field(default_factory=dict)
    places: dict[str, tuple[Place, ...]] = field(default_factory=dict)
    result: SeedResult | None = None
    device_versions: list[dict[str, str]] = field(default_factory=list)
    task: LearningTask = UNKNOWN_TASK
    forecast: dict[str, Any] = field(default_factory=dict)
    responses: list[DeviceResponse] = field(default_factory=list)


class FinishedWork:
    """The folder ``finished`` of a run: ``seed-<seed>.json`` and, for the report, ``.safetensors``.

    Each carries a checksum, what it was made with, and how large the journals were that it stands on. What does
    not fit is set aside with a warning, and computed again from the journals.

    Parameters
    ----------
    run
        The run's folder.
    """

    def __init__(self, run: Path, config: ExperimentConfig) -> None:
        self._run = run
        self._folder = run / FINISHED_WORK
        self._made_with = made_with(config)

    def read(self, seed: int) -> FinishedSeed:
        """What is finished of a seed; nothing if nothing fits."""
        path = self._path(seed)
        if not path.exists():
            return FinishedSeed()
        try:
            return self.fitting(seed)
        except UnfitError as unfit:
            set_aside(path, f"{unfit}; it is computed again from the journal")
            return FinishedSeed()

    def fitting(self, seed: int) -> FinishedSeed:
        """What is finished of a seed.

        Raises
        ------
        UnfitError
            Nothing is, it is damaged, was made with other settings or versions, or the journals hold less.
        """
        try:
            stored = json.loads(self._path(seed).read_text(encoding="utf-8"))
            found = stored.pop("checksum")
            if found != checksum(stored, allow_nan=True):
                raise UnfitError("it is damaged")
            if reason := unlike(stored["made_with"], self._made_with):
                raise UnfitError(reason)
            self._require_journals(seed, stored["journal_bytes"])
            return self._seed(seed, stored)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UnfitError(f"it cannot be read ({type(error).__name__}: {error})") from error

    def keep(self, seed: int, finished: FinishedSeed) -> None:
        """Write it, in place of what was kept of this seed before; the journals must be synced.

        Raises
        ------
        JournalError
            The disk is full, or the folder was removed.
        """
        content = save_arrays(_arrays(finished.responses)) if finished.responses else b""
        stored = {
            "made_with": self._made_with,
            "journal_bytes": self._journal_bytes(seed),
            "scores": {method: score.as_dict() for method, score in finished.scores.items()},
            "places": {method: [p.as_dict() for p in places] for method, places in finished.places.items()},
            "result": None if finished.result is None else finished.result.as_dict(),
            "device_versions": finished.device_versions,
            **finished.task.as_dict(),
            "forecast": finished.forecast,
            "responses": [_response_table(response) for response in finished.responses],
            "arrays_sha256": hashlib.sha256(content).hexdigest() if content else "",
        }
        stored = json.loads(json.dumps(stored))
        try:
            self._folder.mkdir(exist_ok=True)
            if content:
                atomic_write(self._path(seed).with_suffix(".safetensors"), content)
            atomic_write(
                self._path(seed), json.dumps(stored | {"checksum": checksum(stored, allow_nan=True)}) + "\n"
            )
        except OSError as error:
            raise JournalError(
                f"{self._folder} cannot be written ({error.strerror}); what the journal holds is safe. Mend the "
                "disk or free some space, then resume the run"
            ) from error

    def _path(self, seed: int) -> Path:
        return self._folder / f"seed-{seed}.json"

    def _seed(self, seed: int, stored: Mapping[str, Any]) -> FinishedSeed:
        responses: list[DeviceResponse] = []
        if stored["responses"]:
            content = self._path(seed).with_suffix(".safetensors").read_bytes()
            if hashlib.sha256(content).hexdigest() != stored["arrays_sha256"]:
                raise UnfitError("the arrays beside it are damaged")
            arrays = load_arrays(content)
            responses = [_response(number, table, arrays) for number, table in enumerate(stored["responses"])]
        result = stored["result"]
        return FinishedSeed(
            scores={method: Score(score) for method, score in stored["scores"].items()},
            places={m: tuple(Place.from_dict(place) for place in p) for m, p in stored["places"].items()},
            result=None if result is None else SeedResult.from_dict(result),
            device_versions=stored["device_versions"],
            task=kind_of(stored).from_dict(stored),
            forecast=stored["forecast"],
            responses=responses,
        )

    def _journal_bytes(self, seed: int) -> dict[str, int]:
        """Bytes of records in each of a seed's journals."""
        return {
            journal.name: sum(chunk.stat().st_size for chunk in journal.path.glob("*.rows"))
            for journal in journal_folders(self._run)
            if journal.seed == seed
        }

    def _require_journals(self, seed: int, then: Mapping[str, int]) -> None:
        now = self._journal_bytes(seed)
        for name, count in then.items():
            if now.get(name, 0) < count:
                raise UnfitError(f"it stands on {count} bytes of {name}, and the journal holds {now.get(name, 0)}")


def set_aside(path: Path, reason: str) -> Path:
    """Keep a file, and those of its name with other endings, under another name, and say so in one line."""
    aside = path.with_name(f"set-aside-{time.time_ns()}-{path.name}")
    for ending in (".json", ".safetensors"):  # without the first none is looked at
        if path.with_suffix(ending).exists():
            path.with_suffix(ending).rename(aside.with_suffix(ending))
    warnings.warn(f"{path} was set aside as {aside.name}: {reason}", HwloopWarning, stacklevel=3)
    return aside


def _response_table(response: DeviceResponse) -> dict[str, Any]:
    return {
        "spec": response.spec.as_dict(),
        "identity": response.identity,
        "sample": response.sample is not None,
        "sweep": response.sweep is not None,
    }


def _arrays(responses: Sequence[DeviceResponse]) -> dict[str, Any]:
    found = {"": np.zeros(1)}  # a file of no tensors is none
    for number, response in enumerate(responses):
        if response.sample is not None:
            found[f"{number}.sample"] = np.ascontiguousarray(response.sample)
        if response.sweep is not None:
            found[f"{number}.position"] = np.ascontiguousarray(response.sweep.position)
            found[f"{number}.responses"] = np.ascontiguousarray(response.sweep.responses)
    return found


def _response(number: int, table: Mapping[str, Any], arrays: Mapping[str, Any]) -> DeviceResponse:
    return DeviceResponse(
        DeviceSpec(**table["spec"]),
        table["identity"],
        arrays[f"{number}.sample"] if table["sample"] else None,
        Sweep(arrays[f"{number}.position"], arrays[f"{number}.responses"]) if table["sweep"] else None,
    )
