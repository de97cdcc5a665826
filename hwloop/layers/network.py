"""A network whose nonlinear layers are physical, its readout, and rows on their way through several devices."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwloop.errors import ConfigError, HwloopWarning, StimulusError, TrainingDiverged
from hwloop.layers.of_kind import OfKind
from hwloop.layers.rowwise import as_float64
from hwloop.layers.stage import Stage, require_no_gradient
from hwloop.session import Measurement, Session
from hwloop.session.measurement import rows_a_call
from hwloop.tasks import LearningTask, task_of_outputs
from hwloop.torch_state import own_torch_state

Served = tuple[Stage, Session]


@dataclass
class _Passed:
    """What was measured and computed of one stage, piece by piece."""

    measurements: list[Measurement] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)


def pipelined_passes(
    served: Sequence[Served], inputs: Tensor, purpose: str
) -> Iterator[tuple[Stage, Tensor, Tensor]]:
    """Send rows through trained stages, each with a session of its own; (stage, features, z) of each in turn.

    Every session is asked for the same rows in the same order as when one stage is measured after the other, so
    the answers are the same to the last bit, whatever the pace of the devices. Features of all stages are held
    until the last row is through.

    Raises
    ------
    HwloopError
        As :meth:`hwloop.Session.measure`; what is still to be measured is given up, on every device.
    """
    piece = max(rows_a_call(session.device.spec) for _, session in served)
    pieces = torch.split(inputs, piece)
    passed = [_Passed() for _ in served]
    with ExitStack() as stack:
        for _, session in served:
            stack.enter_context(session)

        def send(number: int, rows: Tensor) -> None:
            stage, session = served[number]
            measurement = stack.enter_context(session.submit(stage.encoder(rows), purpose, tuning=stage.tuning))
            passed[number].measurements.append(measurement)

        for rows in pieces:
            send(0, rows)
        # In wave w the stage k hands on its piece w - k, so that no stage waits for the end of another.
        for wave in range(len(pieces) + len(served) - 1):
            for number in range(len(served)):
                if 0 <= wave - number < len(pieces):
                    z = _received(served[number][0], passed, pieces, number, wave - number)
                    if number + 1 < len(served):
                        send(number + 1, z)
    for (stage, _), each in zip(served, passed, strict=True):
        yield stage, torch.cat(each.features), torch.cat(each.z)


def _received(stage: Stage, passed: list[_Passed], pieces: Sequence[Tensor], number: int, piece: int) -> Tensor:
    """Wait for a piece of a stage; its z."""
    inputs = pieces[piece] if number == 0 else passed[number - 1].z[piece]
    each = passed[number]
    features = stage.features(inputs, each.measurements[piece].result())
    each.features.append(features)
    each.z.append(stage.map(features))
    return each.z[piece]


class Readout(OfKind, nn.Module):
    """Base of all readouts.

    Attributes
    ----------
    passes
        How often a row is sent through every stage for one prediction.
    """

    passes: int = 1

    @property
    def label_channels(self) -> int:
        """Features that it adds to an input row, for the label that is tried."""
        return 0

    @abstractmethod
    def log_probabilities(self, network: PhysicalNetwork, inputs: Tensor) -> Tensor:
        """Unnormalised log-probabilities (rows, classes) for input rows (rows, n_features)."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Kind and sizes as plain JSON values: what a checkpoint needs beside the tensors."""

    @classmethod
    @abstractmethod
    def from_settings(cls, network: PhysicalNetwork, settings: Mapping[str, Any]) -> Self:
        """A readout from :meth:`settings`, for its tensors to be loaded into."""

    @property
    @abstractmethod
    def multiply_adds(self) -> int:
        """Digital multiply-adds of the readout itself for one prediction."""


MOST_CLIPPED = 0.5  # of the features of a prediction; of training rows it is a few in a thousand


class PhysicalNetwork(nn.Module):
    """Stages in a row, each measured through a session.

    Parameters
    ----------
    session
        One session that serves every stage, or a list with one a stage (a session may stand in it twice).
    layers
        The stages, first to last.
    seed
        Of projections and of the maps' first values.
    clients
        Sessions of further, equal devices, for a trainer whose clients have one each (``baffle``): each serves
        every stage in training. Predictions are measured by ``session``, which may be one of them.

    Attributes
    ----------
    task
        What it has learned; ``None`` before a fit, and for a classification that a checkpoint held.
    class_names
        What the classes are called, in order; empty if nobody has said. A checkpoint keeps them.
    not_to_be_saved
        Why a checkpoint cannot hold such a network; empty if one can.
    """

    not_to_be_saved: ClassVar[str] = ""

    def __init__(
        self,
        session: Session | Sequence[Session],
        layers: Iterable[Stage],
        seed: int = 0,
        clients: Sequence[Session] = (),
    ) -> None:
        super().__init__()
        stages = list(layers)
        if not stages:
            raise ConfigError("a network needs at least one stage")
        if len(set(map(id, stages))) < len(stages):
            raise ConfigError(
                "a stage stands twice in the network; make one for each place: [Stage() for _ in ...]"
            )
        sessions = [session] * len(stages) if isinstance(session, Session) else list(session)
        if len(sessions) != len(stages):
            raise ConfigError(f"{len(sessions)} sessions for {len(stages)} stages; give one, or one a stage")
        self.stages = nn.ModuleList(stages)
        self.sessions = sessions
        self.clients = list(clients)
        self._check_clients()
        self.seed = seed
        self.n_features = 0
        self.readout: Readout | None = None
        self.task: LearningTask | None = None
        self.class_names: tuple[str, ...] = ()

    def _check_clients(self) -> None:
        if len(set(self.clients)) < len(self.clients):
            raise ConfigError("a session stands twice among the clients; each needs a device of its own")
        for number, client in enumerate(self.clients):
            for served in dict.fromkeys(self.sessions):
                if client.device.spec != served.device.spec:
                    raise ConfigError(
                        f"the device of client {number} has other channels or limits than the network's; clients "
                        "need devices equal to it"
                    )

    def __iter__(self) -> Iterator[tuple[int, Stage, Session]]:
        for number, (stage, session) in enumerate(zip(self.stages, self.sessions, strict=True)):
            assert isinstance(stage, Stage)
            yield number, stage, session

    def __len__(self) -> int:
        return len(self.stages)

    @property
    def distinct_sessions(self) -> list[Session]:
        """Every session once, in the order of the stages, then those of clients."""
        return list(dict.fromkeys([*self.sessions, *self.clients]))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """All devices open, and closed to their safe state afterwards, whatever happens."""
        with ExitStack() as stack:
            for session in self.distinct_sessions:
                stack.enter_context(session)
            yield

    @own_torch_state()
    def build(self, n_features: int) -> None:
        """Create every stage's encoder and map for input rows of ``n_features``."""
        self.n_features = n_features
        for number, stage, session in self:
            stage.build(session.device.spec, n_features, seed=stage_seed(self.seed, number))
            n_features = stage.width

    @property
    def n_columns(self) -> int:
        """Numbers in a row that is to be predicted: the features, without channels for a label."""
        return self.n_features - (0 if self.readout is None else self.readout.label_channels)

    def prediction_rows(self, rows: int) -> dict[Session, int]:
        """Device rows that predicting so many rows needs, at most, by session."""
        passes = rows if self.readout is None else rows * self.readout.passes
        return {session: passes * self.sessions.count(session) for session in dict.fromkeys(self.sessions)}

    @property
    def one_device_a_stage(self) -> bool:
        """Whether every stage has a device of its own, so that all of them can measure at once."""
        return len(self) > 1 and len(set(self.sessions)) == len(self)

    def passes(
        self, inputs: Tensor, purpose: str = "evaluate", stages: int | None = None
    ) -> Iterator[tuple[Stage, Tensor, Tensor]]:
        """Send rows through the first ``stages`` trained stages, all by default.

        Yields (stage, features, z) of each in turn. Where each has a device of its own they measure at the same
        time, one a piece while the one before it goes on; otherwise a stage is measured when it is asked for.
        """
        served = [(stage, session) for _, stage, session in self][:stages]
        if self.one_device_a_stage and len(served) > 1 and len(inputs):
            yield from pipelined_passes(served, inputs, purpose)
            return
        for stage, session in served:
            responses = session.measure(stage.encoder(inputs), purpose, tuning=stage.tuning)
            features = stage.features(inputs, responses)
            inputs = stage.map(features)
            yield stage, features, inputs

    @own_torch_state()
    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """Class probabilities, shape (rows, classes); a row's do not depend on the rows beside it.

        Raises
        ------
        ConfigError
            If the network is not trained yet, or has learned no classes.
        TrainingDiverged
            If its weights give no numbers.
        """
        if self.task is not None and not self.task.gives_probabilities:
            raise ConfigError(f"a {self.task.kind} has no probabilities; call predict")
        return self._answers(as_rows(inputs))[1]

    @own_torch_state()
    def forward(self, inputs: Tensor) -> Tensor:
        """What the trained network says of inputs (..., features), as a module in other people's models.

        Class probabilities (..., classes), or values (..., targets) in the unit of the training targets, in the
        inputs' dtype and place. No gradient crosses it; :class:`hwloop.nn.PhysicalLayer` is for that.

        Raises
        ------
        ConfigError
            The network is not trained yet, or the inputs ask for a gradient.
        """
        require_no_gradient(inputs)
        rows = as_rows(inputs.reshape(-1, inputs.shape[-1]))
        answers = torch.from_numpy(self._answers(rows)[1])
        return answers.reshape(*inputs.shape[:-1], -1).to(inputs.device, inputs.dtype)

    @own_torch_state()
    def answers(self, inputs: Any) -> tuple[LearningTask, NDArray[np.float64]]:
        """What was learned, and what the network says of each row, (rows, n_outputs): probabilities, or values.

        Raises
        ------
        ConfigError, TrainingDiverged
            As :meth:`predict_proba`.
        """
        return self._answers(as_rows(inputs))

    def _answers(self, rows: Tensor) -> tuple[LearningTask, NDArray[np.float64]]:
        if self.readout is None:
            raise ConfigError("the network has no readout yet; train it first (trainer.fit)")
        self._say_what_is_clipped(rows)
        with self.opened(), torch.no_grad():
            outputs = self.readout.log_probabilities(self, rows)
        task = self.task or task_of_outputs(outputs.shape[1], self.class_names)
        answers = task.answers(outputs)
        if bool(answers.isnan().any()):
            row = int(answers.isnan().any(dim=1).nonzero()[0])
            raise TrainingDiverged(
                f"the prediction of row {row} is not a number: the training of this network diverged, or its "
                "weights were changed since; train it again with a lower learning rate"
            )
        return task, answers.numpy()

    def _say_what_is_clipped(self, rows: Tensor) -> None:
        first = cast(Stage, self.stages[0])
        if len(rows) and (share := first.clipped_share(rows)) > MOST_CLIPPED:
            warnings.warn(
                f"{100 * share:.0f} % of the features of these rows lie beyond the range that the network was "
                "trained on, and are clipped at the device's limits; are they in the same unit?",
                HwloopWarning,
                stacklevel=5,
            )

    @own_torch_state()
    def predict(self, inputs: Any) -> NDArray[Any]:
        """The predicted target of each row, as the training targets were.

        The most probable class, as an index from 0, shape (rows,); or values in the unit of the training targets,
        shape (rows,) or (rows, n_targets). A row's prediction does not depend on the rows beside it.

        Raises
        ------
        ConfigError, TrainingDiverged
            As :meth:`predict_proba`.
        """
        task, answers = self._answers(as_rows(inputs))
        return task.predictions(answers)

    def _repr_html_(self) -> str:
        from hwloop.html_report.summary import summary  # only where somebody looks

        built = self.n_features > 0
        facts = {
            "features": self.n_columns or "",
            "task": "" if self.task is None else self.task.kind,
            "classes": ", ".join(self.class_names),
            "readout": "none yet: not trained" if self.readout is None else type(self.readout).__name__,
            "digital multiply-adds a prediction": f"{self.multiply_adds:,}" if built else "",
            "rows measured": f"{sum(session.ledger.total for session in self.distinct_sessions):,}",
        }
        headings = ("stage", "device", "inputs", "outputs", "width", "activation")
        lines = [
            (
                number + 1,
                type(session.device).__name__,
                session.device.spec.n_inputs,
                session.device.spec.n_outputs,
                stage.width,
                stage.activation,
            )
            for number, stage, session in self
        ]
        return summary(type(self).__name__, facts, headings, lines)

    @property
    def multiply_adds(self) -> int:
        """Digital multiply-adds of one prediction, over all stages, the readout and its passes."""
        stages = sum(stage.multiply_adds for _, stage, _ in self)
        if self.readout is None:
            return stages
        return self.readout.passes * stages + self.readout.multiply_adds

    @property
    def folded_multiply_adds(self) -> int:
        """The same for a deployed network: what stands beside a matrix or in front of a device is folded into it.

        A gain an output is folded into the matrix behind it, exactly, for both are linear; a common gain of all
        inputs into that of the device's driver. Gains that differ from input to input, and a projection, are
        counted. An offset counts one an output of a matrix, as an input that is always 1. The last stage's map is
        not counted where the readout sees measured features.
        """
        if self.readout is None:
            raise ConfigError("the network has no readout yet; train it first (trainer.fit)")
        sees_features = self.readout.settings().get("view") == "features"
        last, found = len(self) - 1, 0
        for number, stage, _ in self:
            encoder = stage.encoder
            is_common = len(set(encoder.gain[encoder.gain > 0].tolist())) <= 1
            found += 0 if encoder.is_direct else encoder.n_features * encoder.n_data
            found += 0 if is_common else stage.steps * encoder.n_data
            if number < last or not sees_features:
                found += stage.steps * (stage.n_features + 1) * stage.width
        offsets = self.task.n_outputs if self.task is not None else 0
        return self.readout.passes * found + self.readout.multiply_adds + offsets


def stage_seed(seed: int, number: int) -> int:
    """A seed of its own for each stage."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint32)[0])


def as_rows(inputs: Any) -> Tensor:
    """Input rows as a float64 tensor of shape (rows, n_features), every value finite.

    Raises
    ------
    StimulusError
    DatasetError
        Masked values.
    """
    array = as_float64(inputs, "data")
    if array.ndim != 2:
        raise StimulusError(f"data must have shape (rows, features), but have shape {array.shape}")
    if not np.isfinite(array).all():
        row, feature = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise StimulusError(f"row {row}, feature {feature} of the data is {array[row, feature]}; clean the data")
    return torch.from_numpy(array)
