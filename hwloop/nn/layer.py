"""A physical layer as a ``torch.nn.Module``: measured forwards, with a gradient of choice backwards."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError, HwloopWarning
from hwloop.input_scaling import DEFAULT_INPUT_SCALING
from hwloop.layers.encode import Encoder
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.layers.rowwise import rows_as_tensor
from hwloop.nn.gradients import GRADIENTS, BackwardPass, LayerGradient
from hwloop.nn.inputs import InputMap
from hwloop.nn.responses import STANDARDISATIONS, ResponseScaling, require_rows
from hwloop.nn.saved_device import DEVICE_CHANGED, compare_device, device_as_tensor
from hwloop.session import Session
from hwloop.session.account import Ledger
from hwloop.torch_state import never_compiled, own_torch_state
from hwloop.training.options import chosen, one_of


class PhysicalLayer(nn.Module):
    """Sends batches (..., in_features) through a device, and gives (..., out_features) in their dtype and place.

    Features are mapped into the device's limits by an affine map, measured through a session, and standardised.
    The layer has no parameter of its own. Its arithmetic, and all that it keeps, is float64 on the CPU, wherever
    the model is.

    In training mode rows count as ``train``, in evaluation mode as ``evaluate``; a row that was measured before is
    recalled. The input map is fitted to the first training batch, of which the device's half range holds three
    root mean squares at least, and then stays (:meth:`fit` fits it anew), unless ``input_range`` says it. What
    lies beyond is clipped at the limits; where that is a tenth of a batch a warning says so, once. A layer
    that is evaluated before it was trained is scaled by that batch, for that once, with a warning.

    Parameters
    ----------
    device
        A :class:`hwloop.Device`, a :class:`hwloop.Session` (whose budget, journal and memory are then the
        layer's), or a name of ``hwloop list`` or a TOML file, built to fit.
    in_features
        Features of a row; by default as many as the device has inputs free for data. More than that are mixed by a
        seeded orthogonal projection, with a warning.
    gradient
        What stands for the device's derivative, by name or as a :class:`hwloop.nn.LayerGradient`. ``"none"``: an
        error where it is asked for. ``"perturbation"``: measured, 2 rows a row. ``"twin"``: that of a model,
        fitted to 300 rows. ``hwloop.nn.FeedbackGradient(output=...)``: random feedback. ``"exact"``: a
        simulation's own.
    standardise
        ``"batch"``: as BatchNorm without its affine map. ``"fitted"``: by the first training batch. ``"none"``.
    input_range
        Lowest and highest value of a feature, one number each or one a feature.
    scaling
        ``"global"``: one scale for all features. ``"channel"``: each fills the range of its input. ``"auto"``: as
        the first training batch needs it (:mod:`hwloop.input_scaling`); the log and ``repr(layer)`` say what.
    reference_slots
        See :class:`hwloop.layers.Encoder`.
    device_settings
        Of a device given by name.
    budget
        Rows that the layer may measure; of a session it is the session's own.
    seed
        Of projection, perturbations and feedback; of a device given by name too.
    device_changed
        What ``load_state_dict`` does about another device than the one that the state was saved on: ``"refuse"``,
        or ``"warn"`` and go on.

    Raises
    ------
    ConfigError
        An unknown name, or a device that lacks what the gradient needs.
    """

    passes: Tensor
    responses: ResponseScaling

    def __init__(
        self,
        device: str | Device | Session,
        in_features: int | None = None,
        *,
        gradient: str | LayerGradient,
        standardise: str = "batch",
        input_range: tuple[Any, Any] | None = None,
        scaling: str = DEFAULT_INPUT_SCALING,
        reference_slots: int | None = None,
        device_settings: Mapping[str, Any] | None = None,
        budget: int | None = None,
        seed: int = 0,
        device_changed: str = "refuse",
    ) -> None:
        super().__init__()
        one_of(DEVICE_CHANGED).check("device_changed", device_changed)
        kind = chosen("standardise", standardise, STANDARDISATIONS)
        rule = gradient if isinstance(gradient, LayerGradient) else chosen("gradient", gradient, GRADIENTS)()
        self.session = _session(device, in_features, reference_slots, device_settings, budget, seed)
        self._keeps_open = not isinstance(device, Session)
        self._device_changed, self._seed = device_changed, seed
        self._one_at_a_time = threading.RLock()  # what the gradient keeps is one for all threads
        spec = self.session.device.spec
        rule.check(self.session.device)
        self.gradient = copy.copy(rule)
        self.gradient.begin()
        with own_torch_state():
            self.inputs = InputMap(spec, in_features, reference_slots, scaling, seed)
            if input_range is not None:
                self.inputs.fit_to_range(*input_range)
            self.responses = kind(spec.n_outputs)
            self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.in_features, self.out_features = self.inputs.encoder.n_features, spec.n_outputs

    @property
    def clipped_share(self) -> float:
        """Share of the last batch's values that lay beyond the device's limits, in [0, 1]."""
        return self.inputs.clipped_share

    @own_torch_state()
    def fit(self, inputs: Tensor) -> None:
        """Fit the input map, and what standardises the responses, to training rows (..., in_features) anew.

        They are measured for ``train``, unless they were before, or nothing is standardised. For a first batch
        that is not like the others, or when the values have left the range that they had. Where it fails, the
        layer stays as it was.
        """
        rows = self.inputs.rows_of(inputs)
        fitted = self.inputs.fitted_to(rows)
        if self.responses.is_fitted_to_rows:
            self.responses.fit(rows_as_tensor(self._measured(fitted.encoder(rows), "train")))
        self.inputs.keep(fitted)

    # -- forward and backward --------------------------------------------------------------------------

    def forward(self, inputs: Tensor) -> Tensor:
        """Features (..., out_features) of inputs (..., in_features).

        Raises
        ------
        StimulusError
            Inputs of another shape or type, or that are not finite; nothing was measured.
        BudgetExceeded, DeviceError
            As :meth:`hwloop.Session.measure`.
        """
        return never_compiled(PhysicalLayer._forward)(self, inputs)

    def _forward(self, inputs: Tensor) -> Tensor:
        with own_torch_state():
            rows = self.inputs.rows_of(inputs)
            if len(rows):
                require_rows(self.responses, len(rows))
                self._say_what_is_unknown()
                used = self.inputs.map_for(rows)
                stimuli = used.encoder(rows)
        shape = (*inputs.shape[:-1], self.out_features)
        if not len(rows):
            return inputs.new_zeros(shape) + inputs.sum()  # of nothing, so that a gradient goes through
        answered: Tensor = _Measured.apply(inputs, self, used.encoder, stimuli)  # type: ignore[no-untyped-call]
        if self.inputs.training and not self.inputs.is_fitted:
            with own_torch_state():
                self.inputs.keep(used)
        if self.training and answered.requires_grad:
            with self._one_at_a_time:
                self.gradient.seen(stimuli, answered.detach().numpy().copy())
        features: Tensor = self.responses(answered)
        found = features.to(inputs.device, inputs.dtype).reshape(shape)
        if not bool(torch.isfinite(found.detach()).all()):
            raise ConfigError(
                f"a response is too large for {inputs.dtype}; let the layer standardise, or scale it"
            )
        return found

    def _say_what_is_unknown(self) -> None:
        fits_inputs = not (self.inputs.training or self.inputs.is_fitted)
        if fits_inputs or not (self.responses.training or self.responses.is_known):
            what = "it is scaled" if fits_inputs else "its responses are standardised"
            warnings.warn(
                "a physical layer is evaluated before it has seen a training batch, and nothing was loaded: "
                f"{what} by this batch, for this once",
                HwloopWarning,
                stacklevel=4,
            )

    def _measured(self, stimuli: Float64Array, purpose: str) -> Float64Array:
        if self._keeps_open:
            self.session.open()  # from the first row on: to open it anew for every batch would cost time
        return self.session.measure(stimuli, purpose)

    def _pulled_back(self, ctx: Any, by_responses: Tensor) -> Tensor:
        """Derivative by the rows (rows, in_features), from that by the responses."""
        encoder, stimuli, session = ctx.encoder, ctx.stimuli, self.session
        errors = by_responses.to("cpu", torch.float64).numpy()
        with self._one_at_a_time:
            self.passes = self.passes + 1
            number = int(self.passes)
            asked = BackwardPass(session, stimuli, encoder.n_data, errors, number, self._seed, ctx.notes)
            found = np.ascontiguousarray(self.gradient.pull_back(asked), dtype=np.float64)
        if found.shape != stimuli.shape:
            raise ConfigError(
                f"{self.gradient}.pull_back gave an array of shape {found.shape}; the stimuli's is {stimuli.shape}"
            )
        by_rows: Tensor = encoder.pull_back(stimuli, torch.from_numpy(found))
        return by_rows

    # -- cost and device -------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """Rows and seconds by purpose, of the layer's session."""
        return self.session.ledger

    def step_rows(self, rows: int) -> int:
        """Device rows of a training step on so many rows, forwards and backwards, at most.

        Those that a twin is first fitted to come once besides: ``layer.gradient.first_rows``.
        """
        return rows * (1 + self.gradient.rows_a_row)

    def close(self) -> None:
        """Close the device to its safe state; the next batch opens it again."""
        self.session.close()

    def __enter__(self) -> Self:
        self.session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.__exit__(kind, error, trace)
        if self._keeps_open:
            self.close()

    # -- what torch does with modules ------------------------------------------------------------------

    def get_extra_state(self) -> Tensor:
        """What the device is, as bytes in a tensor, so that every format of tensors can hold it."""
        return device_as_tensor(self.session)

    def set_extra_state(self, state: Any) -> None:
        """Compare the device with the one that the state was saved on.

        Raises
        ------
        CheckpointError
            It is another one, and ``device_changed`` is ``"refuse"``.
        """
        compare_device(state, self.session, self._device_changed)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """``to``, ``half`` and the like change nothing: what the layer keeps stays float64 on the CPU."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with figures of its own, on the same session: there is one device."""
        memo[id(self.session)] = self.session
        memo[id(self._one_at_a_time)] = threading.RLock()
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} holds a device, and no file or other process can hold that. Save "
            "model.state_dict(); build the model with the device, and load_state_dict() there"
        )

    def _replicate_for_data_parallel(self) -> NoReturn:
        raise ConfigError(
            f"torch.nn.DataParallel copies a model to several processors, but a {type(self).__name__} has one "
            "device, which takes rows in turn; put what is before and behind the layer into DataParallel"
        )

    def extra_repr(self) -> str:
        """Sizes, device, gradient with its cost, and rows measured so far."""
        gradient = self.gradient
        cost = f", {gradient.rows_a_row} rows a row" if gradient.rows_a_row else ""
        cost += f", {gradient.first_rows} rows once" if gradient.first_rows else ""
        model = f", uses a model: {gradient.uses_model}" if gradient.uses_model else ""
        sizes = f"{self.in_features} -> {self.out_features} on {type(self.session.device).__name__}"
        return f"{sizes}, {self.ledger.total:,} rows measured\ngradient: {gradient}{cost}{model}"


class _Measured(torch.autograd.Function):
    """Responses (rows, n_outputs), float64; backwards, the layer's rule stands for the device."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, layer: PhysicalLayer, encoder: Encoder, stimuli: Float64Array) -> Tensor:
        with own_torch_state():
            responses = layer._measured(stimuli, "train" if layer.training else "evaluate")
            ctx.layer, ctx.encoder, ctx.stimuli, ctx.notes = layer, encoder, stimuli, {}
            ctx.inputs = inputs.shape, inputs.dtype, inputs.device
            return torch.from_numpy(responses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_responses: Tensor) -> tuple[Tensor, None, None, None]:
        with own_torch_state(), torch.no_grad():
            found = ctx.layer._pulled_back(ctx, by_responses)
        shape, dtype, device = ctx.inputs
        return found.reshape(shape).to(device, dtype), None, None, None


def _session(
    device: str | Device | Session,
    in_features: int | None,
    slots: int | None,
    settings: Mapping[str, Any] | None,
    budget: int | None,
    seed: int,
) -> Session:
    """The session of whatever was given."""
    if settings and not isinstance(device, str):
        raise ConfigError("device_settings need a device given by name; set up a Device object yourself")
    if isinstance(device, Session):
        if budget is not None:
            raise ConfigError("a session has a budget of its own: hwloop.Session(device, budget=...)")
        return device
    if isinstance(device, str):
        if in_features is None:
            raise ConfigError("a device given by name is built to fit; say in_features")
        device = open_fitting_device(device, settings or {}, in_features, {"seed": seed}, slots)
    return Session(device, budget=budget)
