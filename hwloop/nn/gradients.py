"""What stands for a device's derivative in a backward pass: the choices of a physical layer's ``gradient``."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.device import Device
from hwloop.device.spec import Differentiable, Float64Array
from hwloop.errors import ConfigError
from hwloop.session import Session
from hwloop.torch_state import never_compiled
from hwloop.training.options import COUNT, INNER_SHARE, WithOptions, one_of, option, whole_number
from hwloop.training.rules.chain_rule import REFITTED, TWINS
from hwloop.twin import Twin
from hwloop.twin import fit as fit_twin
from hwloop.twin.fitting import MIN_ROWS

logger = logging.getLogger(__name__)

ERROR = "error at the output"  # what direct feedback notes of a pass


@dataclass(frozen=True, eq=False)
class BackwardPass:
    """One backward pass that has reached a layer.

    Attributes
    ----------
    session
        Measures on the layer's device.
    stimuli
        What it was driven with, (rows, n_inputs).
    n_data
        So many inputs, the first ones, carry data; the others are constants.
    by_responses
        Derivative of the loss by the responses, (rows, n_outputs).
    number
        Of the pass, from 1.
    seed
        Of the layer: with the number it decides all that is random.
    notes
        What the rule has noted of the forward pass that this one answers.
    """

    session: Session
    stimuli: Float64Array
    n_data: int
    by_responses: Float64Array
    number: int
    seed: int
    notes: dict[str, Any] = field(default_factory=dict)

    def rng(self) -> np.random.Generator:
        """The pass's own random numbers: those of one that goes on from a checkpoint are the same."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, self.number]))


class LayerGradient(ABC):
    """Derivative of a loss by what a device was driven with, from that by its responses.

    A rule of your own is a class with :meth:`pull_back`; give an object of it as ``gradient``.

    Attributes
    ----------
    rows_a_row
        Rows that a backward pass measures for every row of its batch.
    first_rows
        Rows that the first backward pass measures besides.
    uses_model
        What it knows of the device beyond measured rows, in words; empty for nothing.
    """

    rows_a_row: int = 0
    first_rows: int = 0
    uses_model: str = ""

    def check(self, device: Device) -> None:
        """Refuse a device that lacks what the rule needs.

        Raises
        ------
        ConfigError
        """

    def begin(self) -> None:
        """Forget what an earlier layer has shown: called once, when the layer is made."""

    def seen(self, stimuli: Float64Array, responses: Float64Array) -> None:
        """Training rows of a batch whose gradient will be asked for."""

    @abstractmethod
    def pull_back(self, asked: BackwardPass) -> Float64Array:
        """Derivative by the stimuli, (rows, n_inputs); what it says of inputs without data is not used."""

    def __str__(self) -> str:
        fields: tuple[Any, ...] = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        options = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields if each.repr)
        return f"{type(self).__name__}({options})"


@dataclass(eq=False)
class NoGradient(LayerGradient):
    """``"none"``: what is before the layer cannot be trained through it; to ask for a gradient is an error."""

    def pull_back(self, asked: BackwardPass) -> Float64Array:
        raise ConfigError(
            'a gradient was asked of a PhysicalLayer with gradient="none", which has none. To train what is before'
            ' the layer, choose gradient="perturbation" (measures more rows), "twin" (fits a model) or a '
            "hwloop.nn.FeedbackGradient; to train only what is behind it, give it inputs without a gradient: "
            "x.detach(), or requires_grad_(False) on the modules before it"
        )


@dataclass(eq=False)
class ExactGradient(LayerGradient):
    """``"exact"``: the derivative that the device itself tells, which only a simulation can: a yardstick."""

    uses_model = "the simulated device's own derivative, which no hardware can tell"

    def check(self, device: Device) -> None:
        if not isinstance(device, Differentiable):
            raise ConfigError(
                f'gradient="exact" needs the derivative of {type(device).__name__}, which only simulations with a '
                'method pull_back can tell (optical-fibre, relu-layer); take "perturbation" or "twin"'
            )

    def pull_back(self, asked: BackwardPass) -> Float64Array:
        return cast(Differentiable, asked.session.device).pull_back(asked.stimuli, asked.by_responses)


@dataclass(eq=False)
class TwinGradient(WithOptions, LayerGradient):
    """``"twin"``: the derivative of a model fitted to measured rows (Wright et al., Nature 601, 549, 2022).

    The first backward pass measures ``rows`` stimuli of its own for it, which count as ``calibrate``: normal, with
    a third of each data channel's half range. Passes 4, 16, 64, ... fit it again to these and to the last ``rows``
    training rows, for the stimuli move as the modules before the layer learn; that measures nothing.

    Attributes
    ----------
    rows
        Measured for the first fit.
    twin
        ``'linear'``, ``'modulus'`` (coherent waves), ``'intensity'`` (the same on a camera that saturates),
        ``'mlp'``, or ``'best'`` of linear, modulus and mlp on held-out rows.
    """

    rows: int = option(300, whole_number(MIN_ROWS))
    twin: str = option("best", one_of(TWINS))

    uses_model = "a twin of the device, fitted to measured rows"

    def begin(self) -> None:
        self.fitted: Twin | None = None
        self._own: tuple[Float64Array, Float64Array] | None = None
        self._last: list[tuple[Float64Array, Float64Array]] = []

    @property
    def first_rows(self) -> int:  # type: ignore[override]
        """The rows of the first fit."""
        return self.rows

    def seen(self, stimuli: Float64Array, responses: Float64Array) -> None:
        self._last.append((stimuli, responses))
        while len(self._last) > 1 and sum(len(rows) for rows, _ in self._last[1:]) >= self.rows:
            del self._last[0]

    def pull_back(self, asked: BackwardPass) -> Float64Array:
        if self._own is None:
            stimuli = self._drawn(asked)
            self._own = stimuli, asked.session.measure(stimuli, "calibrate")
            self._fit([self._own], asked.seed)
        elif _is_power(asked.number, REFITTED):
            self._fit([self._own, *self._last], asked.seed)
        assert self.fitted is not None
        return self.fitted.pull_back(asked.stimuli, asked.by_responses)

    def _drawn(self, asked: BackwardPass) -> Float64Array:
        """Stimuli around mid-range, their constants those of the layer."""
        spec = asked.session.device.spec
        low, high = spec.low[: asked.n_data], spec.high[: asked.n_data]
        stimuli = np.repeat(asked.stimuli[:1], self.rows, axis=0)
        spread = asked.rng().standard_normal((self.rows, asked.n_data)) / 3
        stimuli[:, : asked.n_data] = np.clip((low + high) / 2 + (high - low) / 2 * spread, low, high)
        return stimuli

    def _fit(self, pairs: list[tuple[Float64Array, Float64Array]], seed: int) -> None:
        stimuli, responses = (np.concatenate(part) for part in zip(*pairs, strict=True))
        self.fitted = fit_twin(stimuli, responses, seed, TWINS[self.twin])
        report = self.fitted.report
        logger.info(
            "the gradient is that of a twin (%s), fitted to %d rows; NRMSE %.3f on rows held out",
            report.winner,
            report.fitted_rows,
            report.score.nrmse,
        )


@dataclass(eq=False)
class PerturbationGradient(WithOptions, LayerGradient):
    """``"perturbation"``: measured differences along random directions of all data channels at once.

    With s the stimulus, d random signs and c the size, (D(s + c d) - D(s - c d)) / (2 c) is the response's change
    along d, and its product with the loss's derivative by the responses, times d, an estimate of the derivative by
    s without bias but for the device's curvature (simultaneous perturbation: Spall, IEEE Trans. Automat. Contr.
    37, 332, 1992). What is behind the layer is digital and differentiated as it is, so its gradient is exact. The
    rows count as ``train``, and are measured afresh.

    Attributes
    ----------
    pairs
        Directions a row, each measured on both sides: 2 pairs rows for every row of the batch.
    size
        c, as a share of a channel's half range: small against the device's curvature, large against its noise.
    """

    pairs: int = option(1, COUNT)
    size: float = option(0.05, INNER_SHARE)

    @property
    def rows_a_row(self) -> int:  # type: ignore[override]
        """Both sides of every direction."""
        return 2 * self.pairs

    def pull_back(self, asked: BackwardPass) -> Float64Array:
        spec, n_data = asked.session.device.spec, asked.n_data
        low, high = spec.low[:n_data], spec.high[:n_data]
        step = self.size * (high - low) / 2
        rows = len(asked.stimuli)
        signs = asked.rng().integers(0, 2, (self.pairs, rows, n_data)) * 2.0 - 1.0
        # Within the limits on both sides: a stimulus next to one is moved off it first.
        centre = np.clip(asked.stimuli[:, :n_data], low + step, high - step)
        asked_rows = np.repeat(asked.stimuli[None], 2 * self.pairs, axis=0)
        moved = np.concatenate([centre + step * signs, centre - step * signs])
        asked_rows[:, :, :n_data] = np.clip(moved, low, high)
        answers = asked.session.measure(asked_rows.reshape(-1, spec.n_inputs), "train", fresh=True)
        plus, minus = answers.reshape(2, self.pairs, rows, spec.n_outputs)
        slopes = ((plus - minus) * asked.by_responses).sum(axis=-1) / 2
        found = np.zeros_like(asked.stimuli)
        found[:, :n_data] = (slopes[:, :, None] * signs / step).mean(axis=0)
        return found


@dataclass(eq=False)
class FeedbackGradient(LayerGradient):
    """``"feedback"``: the error at the model's output through a fixed random matrix (direct feedback alignment).

    The derivative by a stimulus is taken to be B e: e the loss's derivative by the outputs of the module
    ``output``, B Gaussian of variance 1 / outputs, drawn once (Nøkland, NeurIPS 2016). Nothing is measured and
    nothing known of the device. It is no gradient, and begins with no more than chance's agreement in sign with
    one: what is behind the layer has to learn to fit the matrix.

    Attributes
    ----------
    output
        The module whose outputs the loss sees, often the model's last. What was computed from a pass of the layer
        must enter it once, with the same rows; a pass hears the error of what was computed from it, whatever
        the order of passes.
    """

    output: nn.Module | None = dataclasses.field(default=None, repr=False)

    def check(self, device: Device) -> None:
        if not isinstance(self.output, nn.Module):
            raise ConfigError(
                "direct feedback needs the module whose outputs the loss sees: give the layer "
                "gradient=hwloop.nn.FeedbackGradient(output=head), with head the model's last module"
            )

    def begin(self) -> None:
        assert self.output is not None
        self.output.register_forward_hook(self._called)

    def _called(self, module: nn.Module, given: Any, outputs: Any) -> None:
        never_compiled(self._listen)(outputs[0] if isinstance(outputs, tuple) else outputs)

    def _listen(self, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            heard = functools.partial(_hear, _notes_of_passes(output, self))
            output.register_hook(heard)  # type: ignore[no-untyped-call]

    def pull_back(self, asked: BackwardPass) -> Float64Array:
        heard_in, error = asked.notes.pop(ERROR, (None, None))
        if heard_in != torch._C._current_graph_task_id():
            error = None  # of an earlier backward pass, which ended before it came to the layer
        rows = len(asked.stimuli)
        if error is None or not _has_rows(error, rows):
            shape = "no error" if error is None else f"an error of shape {tuple(error.shape)}"
            raise ConfigError(
                f"direct feedback found {shape} at the output for {rows} rows of the layer: its output must be a "
                "module that every forward pass calls once, behind the layer, with the same rows (a checkpoint "
                "around one of the two needs use_reentrant=False)"
            )
        sent = error.detach().to("cpu", torch.float64).reshape(rows, -1).numpy()
        size = (sent.shape[1], asked.n_data)
        matrix = np.random.default_rng(np.random.SeedSequence([asked.seed, *size])).standard_normal(size)
        found = np.zeros_like(asked.stimuli)
        found[:, : asked.n_data] = sent @ matrix / np.sqrt(size[0])
        return found


def _notes_of_passes(output: Tensor, gradient: LayerGradient) -> list[dict[str, Any]]:
    """Notes of the last passes of the layer with this gradient that an output was computed from."""
    found, seen, ahead = [], set(), [output.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if getattr(getattr(node, "layer", None), "gradient", None) is gradient:
            found.append(cast(dict[str, Any], node.notes))  # type: ignore[attr-defined]
        else:
            ahead += [each for each, _ in node.next_functions]
    return found


def _hear(passes: list[dict[str, Any]], error: Tensor) -> None:
    """Note an error at the output for the passes of the layer behind it, with the backward pass that it is of."""
    heard_in = torch._C._current_graph_task_id()
    for notes in passes:
        if notes.get(ERROR, (None,))[0] == heard_in:
            raise ConfigError(
                "direct feedback found two errors for one pass of the layer: its output was called twice on what "
                "that pass gave; call it once, or take a module that is, such as one that holds both"
            )
        notes[ERROR] = heard_in, error


def _has_rows(error: Tensor, rows: int) -> bool:
    """Whether the first axes of an error are the rows of a layer."""
    return error.ndim > 0 and any(math.prod(error.shape[:axes]) == rows for axes in range(error.ndim + 1))


GRADIENTS: dict[str, type[LayerGradient]] = {
    "none": NoGradient,
    "twin": TwinGradient,
    "perturbation": PerturbationGradient,
    "feedback": FeedbackGradient,
    "exact": ExactGradient,
}


def _is_power(number: int, base: int) -> bool:
    while number > 1 and number % base == 0:
        number //= base
    return number == 1
