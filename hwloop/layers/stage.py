"""One physical layer with the digital maps around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers.encode import Encoder, SequenceEncoder, default_reference_slots, projection_note, step_spec
from hwloop.layers.interface import InterfaceMap, new_interface, weight_precision
from hwloop.layers.of_kind import OfKind
from hwloop.layers.rowwise import exact_linear, rows_as_tensor
from hwloop.layers.standardise import Moments, Standardiser
from hwloop.registry import nearest
from hwloop.session import Session
from hwloop.torch_state import own_torch_state


def identity(z: Tensor) -> Tensor:
    """No activation."""
    return z


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": identity, "relu": torch.relu}


def require_no_gradient(inputs: Tensor) -> None:
    """Refuse inputs whose gradient could be asked for: none crosses a measurement.

    Raises
    ------
    ConfigError
    """
    if inputs.requires_grad:
        raise ConfigError(
            "no gradient crosses a device here; give inputs without one, x.detach(), or take "
            "hwloop.nn.PhysicalLayer, whose gradient is a choice"
        )


@dataclass(frozen=True)
class StageMoments:
    """Moments of what a stage answered, and of what it encoded where that is appended to the features."""

    responses: Moments
    inputs: Moments

    def add(self, inputs: Tensor, responses: Tensor) -> None:
        """Take in rows: what was encoded (rows, n), and what came back (rows, n_outputs)."""
        self.responses.add(responses)
        if len(self.inputs.mean):
            self.inputs.add(inputs.detach())


class Stage(OfKind, nn.Module):
    """Encode, measure, standardise, trainable linear map, activation.

    The map's output before the activation, z = W f + b, is what the next stage encodes; the activation serves
    the stage's own local objective and readout.

    Parameters
    ----------
    width
        Outputs of the trainable linear map.
    activation
        ``None``: a linear interface, every nonlinearity is physical. ``"relu"``: a relu interface.
    bypass
        Append the stage's input, standardised too, to the measured features. Off by default: it hides what the
        physics does.
    reference_slots, controls, scaling
        See :class:`hwloop.layers.Encoder`.
    weights
        Precision of the linear map, see :func:`hwloop.layers.interface.weight_precision`.
    steps
        More than 1: a row is a sequence of so many, see :class:`hwloop.layers.encode.SequenceEncoder`.

    Attributes
    ----------
    tuning
        What the device's tunables are set to for this stage's rows, shape (n_tunables,); ``None`` for what its
        session says (:meth:`hwloop.Session.tune`), as on a device without tunables. A fit enters it, and a
        checkpoint keeps it.
    """

    kind: ClassVar[str] = "stage"
    encoder: Encoder
    standardiser: Standardiser
    linear: InterfaceMap
    tuned_to: Tensor | None

    def __init__(
        self,
        width: int = 100,
        activation: str | None = None,
        *,
        bypass: bool = False,
        reference_slots: int | None = None,
        controls: tuple[float, ...] = (),
        scaling: str = "global",
        weights: str = "float",
        steps: int = 1,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ConfigError(f"a stage's width must be at least 1, not {width}")
        if (activation or "none") not in ACTIVATIONS:
            raise ConfigError(f"unknown activation {activation!r}: {nearest(str(activation), ACTIVATIONS)}")
        self.width = width
        self.activation = activation or "none"
        self.bypass = bypass
        self._reference_slots = reference_slots
        self._controls = tuple(controls)
        self._scaling = scaling
        self.weights = weights
        self._precision = weight_precision(weights)
        self.steps = steps
        if steps < 1 or (steps > 1 and controls):
            raise ConfigError(f"a stage has at least 1 step, not {steps}, and controls with 1 only")
        self.register_buffer("tuned_to", None)  # in a checkpoint only where there is one

    @property
    def tuning(self) -> Float64Array | None:
        """What the device's tunables are set to for this stage's rows."""
        held = self.tuned_to
        return None if held is None else np.array(held.numpy(), dtype=np.float64)

    @tuning.setter
    def tuning(self, values: Float64Array | None) -> None:
        """A copy is kept; the session checks it against the device's limits when it is measured under."""
        self.tuned_to = None if values is None else torch.tensor(values, dtype=torch.float64)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """A tuning is taken up where there is one, whether or not this stage had one."""
        held = state_dict.get(f"{prefix}tuned_to")
        if held is not None and (held.dtype != torch.float64 or held.shape != (self.spec.n_tunables,)):
            raise ValueError(
                f"a tuning of shape {tuple(held.shape)} and {held.dtype} does not fit a device with "
                f"{self.spec.n_tunables} tunables"
            )
        self.tuned_to = None if held is None else held.clone()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def settings(self) -> dict[str, Any]:
        """The arguments that make a stage like this one, as plain JSON values."""
        return {
            "width": self.width,
            "activation": self.activation,
            "bypass": self.bypass,
            "reference_slots": self._reference_slots,
            "controls": list(self._controls),
            "scaling": self._scaling,
            "weights": self.weights,
            "steps": self.steps,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """A stage from :meth:`settings`; a file that names no kind means this one."""
        return cls(**{**settings, "controls": tuple(settings["controls"])})

    @classmethod
    def features_held(cls, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], prefix: str) -> int:
        """Features of a row for which such a stage's tensors, their names behind ``prefix``, were made."""
        encoder = f"{prefix}encoder."
        held = len(tensors[encoder + "projection"]) or len(tensors[encoder + "mean"])
        return held * int(settings.get("steps", 1))  # an encoder of sequences holds one step

    def build(self, spec: DeviceSpec, n_features: int, seed: int) -> None:
        """Create encoder, standardiser and linear map for a device and an input width."""
        self.spec = spec
        self.tuning = None
        self.encoder = self._new_encoder(spec, n_features, seed)
        self.standardiser = Standardiser(spec.n_outputs)
        self.bypass_standardiser = Standardiser(n_features if self.bypass else 0)
        self.n_features = spec.n_outputs + (n_features if self.bypass else 0)
        self.linear = new_interface(self.n_features, self.width, self._precision)
        self.reset_map(torch.Generator().manual_seed(seed))

    def _new_encoder(self, spec: DeviceSpec, n_features: int, seed: int) -> Encoder:
        slots, scaling = self._reference_slots, self._scaling
        if self.steps > 1:
            return SequenceEncoder(
                spec, n_features, self.steps, reference_slots=slots, scaling_name=scaling, seed=seed
            )
        return Encoder(
            spec, n_features, reference_slots=slots, controls=self._controls, scaling_name=scaling, seed=seed
        )

    def projection_note(self, spec: DeviceSpec, n_features: int) -> str:
        """What becomes of features that do not fit a device, in words, before anything is built; else empty."""
        slots = self._reference_slots
        if self.steps > 1:
            return projection_note(n_features // self.steps, step_spec(spec, self.steps).n_drives - (slots or 0))
        slots = default_reference_slots(spec) if slots is None else slots
        return projection_note(n_features, spec.n_drives - slots - len(self._controls))

    def clipped_share(self, inputs: Tensor) -> float:
        """Share of the features of rows (rows, n) that the encoder clips at the device's limits."""
        return self.encoder.clipped_share(inputs)

    def reset_map(self, rng: torch.Generator) -> None:
        """Draw the linear map afresh: variance 1/n_features (LeCun), zero bias."""
        with torch.no_grad():
            self.linear.weight.normal_(0.0, self.n_features**-0.5, generator=rng)
            self.linear.bias.zero_()

    def fit_standardisers(self, inputs: Tensor, responses: Tensor) -> None:
        """Fit on training rows: responses (rows, n_outputs) to the inputs (rows, n_features) that were encoded."""
        self.standardiser.fit(responses)
        if self.bypass:
            self.bypass_standardiser.fit(inputs.to(torch.float64))

    def moments(self) -> StageMoments:
        """Empty, to take in training rows."""
        return StageMoments(Moments(self.spec.n_outputs), Moments(self.n_features - self.spec.n_outputs))

    def fit_standardisers_to(self, moments: StageMoments) -> None:
        """As :meth:`fit_standardisers`, from rows that need not be kept."""
        self.standardiser.fit_to(moments.responses)
        if self.bypass:
            self.bypass_standardiser.fit_to(moments.inputs)

    def features(self, inputs: Tensor, responses: Float64Array) -> Tensor:
        """What the linear map sees: standardised responses (rows, n_features), float32, no gradient."""
        standardised: Tensor = self.standardiser(rows_as_tensor(responses))
        if not self.bypass:
            return standardised
        return torch.cat([standardised, self.bypass_standardiser(inputs.detach().to(torch.float64))], dim=1)

    def fitted_features(self, inputs: Tensor, responses: Float64Array) -> Tensor:
        """The features of training rows, to which the standardisers are fitted first."""
        self.fit_standardisers(inputs, rows_as_tensor(responses))
        return self.features(inputs, responses)

    def forward(self, inputs: Tensor, session: Session) -> Tensor:
        """Activities a(W f + b) for inputs (..., n), measured through a session, in the inputs' dtype and place.

        A gradient reaches W and b, and goes no further. Rows count as ``train`` in training mode, else as
        ``evaluate``.

        Raises
        ------
        ConfigError
            The stage was not fitted yet, or the inputs ask for a gradient.
        """
        require_no_gradient(inputs)
        if "encoder" not in self._modules or not bool((self.encoder.gain > 0).any()):
            raise ConfigError("this stage was not fitted to rows yet: train its network first (trainer.fit)")
        with own_torch_state():
            rows = inputs.detach().to("cpu", torch.float64).reshape(-1, inputs.shape[-1])
            responses = session.measure(
                self.encoder(rows), "train" if self.training else "evaluate", tuning=self.tuning
            )
            features = self.features(rows, responses)
        activity = self.activate(self.linear(features))
        return activity.reshape(*inputs.shape[:-1], self.width).to(inputs.device, inputs.dtype)

    def activate(self, z: Tensor) -> Tensor:
        """The activation of the stage's output z."""
        return ACTIVATIONS[self.activation](z)

    def map(self, features: Tensor) -> Tensor:
        """Z = W f + b for every row, bit-identical in every batch; no gradient."""
        return exact_linear(self.linear, features)

    @property
    def multiply_adds(self) -> int:
        """Digital multiply-adds of one row: projection, linear map (encode and standardise: one a channel)."""
        encoder = self.encoder
        projection = 0 if encoder.is_direct else encoder.n_features * encoder.n_data
        return self.steps * (projection + encoder.n_data) + self.spec.n_outputs + self.n_features * self.width
