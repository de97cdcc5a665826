"""What a physical layer makes of its inputs: the affine map into the device's limits, and what it says of it."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwloop.device import DeviceSpec
from hwloop.errors import ConfigError, HwloopWarning, StimulusError
from hwloop.input_scaling import INPUT_SCALINGS, ONE_SCALE, InputScaling, decided
from hwloop.layers.encode import Encoder, projection_note
from hwloop.training.options import COUNT, one_of

logger = logging.getLogger(__name__)

MOST_CLIPPED = 0.1  # of the values of a batch; of those that it was fitted to it is three in a thousand
LEAST_RANGE = 3.0  # root mean squares of the first batch that the device's half range holds


@dataclass(frozen=True, eq=False)
class FittedMap:
    """An encoder that is fitted, and how it scales features."""

    encoder: Encoder
    chosen: InputScaling


class InputMap(nn.Module):
    """An :class:`hwloop.layers.Encoder` that is fitted to the first training batch, or to a given range.

    Parameters
    ----------
    spec
        The device's channels and limits.
    n_features
        ``None`` for as many as there are inputs free for data.
    reference_slots, seed
        As an Encoder takes them.
    scaling
        Of :data:`hwloop.input_scaling.INPUT_SCALINGS`.

    Attributes
    ----------
    clipped_share
        Of the values of the last batch, those beyond the limits.
    chosen
        How features are scaled, and why.
    """

    is_fitted: Tensor

    def __init__(
        self, spec: DeviceSpec, n_features: int | None, reference_slots: int | None, scaling: str, seed: int
    ) -> None:
        super().__init__()
        one_of(INPUT_SCALINGS).check("scaling", scaling)
        free = Encoder(spec, 1, reference_slots=reference_slots).n_free
        n_features = free if n_features is None else n_features
        COUNT.check("in_features", n_features)
        self._spec, self._slots, self._seed = spec, reference_slots, seed
        self._scaling, self.chosen = scaling, InputScaling(ONE_SCALE)
        self.encoder = self._new_encoder(n_features, self.chosen)
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))
        self.clipped_share = 0.0
        self._told = False
        if note := projection_note(n_features, free):
            warnings.warn(note, HwloopWarning, stacklevel=4)

    def _new_encoder(self, n_features: int, chosen: InputScaling) -> Encoder:
        return Encoder(
            self._spec,
            n_features,
            reference_slots=self._slots,
            scaling_name=chosen.name,
            seed=self._seed,
        )

    def fit_to_range(self, low: Any, high: Any) -> None:
        """Map ``low`` and ``high``, one number or one a feature, to the device's limits.

        Raises
        ------
        ConfigError
            That is no range, or features are mixed.
        """
        n_data = self.encoder.n_features
        lowest, highest = (np.broadcast_to(np.asarray(end, np.float64), (n_data,)) for end in (low, high))
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all() and (lowest < highest).all()):
            raise ConfigError(f"input_range must be two finite numbers, the lower first, not {low!r}, {high!r}")
        if not self.encoder.is_direct:
            raise ConfigError(
                "input_range holds for features that have an input each; give the device more inputs, the layer "
                "fewer features, or leave the range to the first batch"
            )
        half_range = torch.from_numpy((self._spec.high - self._spec.low)[:n_data] / 2)
        self.encoder.mean = torch.from_numpy((lowest + highest) / 2)
        self.encoder.gain = half_range / torch.from_numpy((highest - lowest) / 2)
        self.is_fitted = torch.ones((), dtype=torch.bool)

    def keep(self, fitted: FittedMap) -> None:
        """Map by ``fitted`` from here on: called once its rows are measured, so that a failure changes nothing."""
        if self.is_fitted:  # anew, and so what it clips is said anew
            self._told = False
        self.encoder, self.chosen = fitted.encoder, fitted.chosen
        self.is_fitted = torch.ones((), dtype=torch.bool)

    def fitted_to(self, rows: Tensor) -> FittedMap:
        """A map fitted to training rows (rows, n_features); this one stays as it is.

        Raises
        ------
        ConfigError
            The rows are all alike.
        """
        chosen = decided(self._scaling, rows.numpy())
        if chosen.reason:
            logger.info("inputs of a physical layer have %s", chosen.text)
        encoder = self._new_encoder(self.encoder.n_features, chosen)
        encoder.fit(rows)
        driven = encoder.gain > 0
        if len(rows) < 2 or not bool(driven.any()):
            raise ConfigError(
                f"the {len(rows)} rows that a physical layer was to be scaled by are all alike: nothing would "
                "reach the device. Give it a batch that varies, or input_range"
            )
        # A small batch hardly shows the range of the others: it spans three root mean squares at least.
        squares = encoder.excursions(rows).square().mean(dim=0)
        if chosen.name == ONE_SCALE:  # also for a feature that rests in these few rows
            squares = squares[driven].mean().expand_as(squares)
            encoder.gain = torch.where(driven, encoder.gain, encoder.gain.max())
        elif resting := int((~driven).sum()):
            warnings.warn(
                f"{resting} of {len(driven)} features of a physical layer are the same in all {len(rows)} rows "
                "that it is scaled by, and drive nothing from here on; fit it to more rows, layer.fit(x), or take "
                'scaling="global"',
                HwloopWarning,
                stacklevel=4,
            )
        encoder.gain = encoder.gain / (LEAST_RANGE * squares.sqrt()).clamp_min(1.0)
        return FittedMap(encoder, chosen)

    def map_for(self, rows: Tensor) -> FittedMap:
        """The map for a batch, fitted to it where none is kept; what it will clip is said."""
        found = FittedMap(self.encoder, self.chosen) if self.is_fitted else self.fitted_to(rows)
        self._say_what_is_clipped(found.encoder, rows)
        return found

    def _say_what_is_clipped(self, encoder: Encoder, rows: Tensor) -> None:
        self.clipped_share = float((encoder.excursions(rows) > 1).double().mean())
        if self.clipped_share > MOST_CLIPPED and not self._told:
            self._told = True
            warnings.warn(
                f"{100 * self.clipped_share:.0f} % of the values that enter a physical layer lie beyond the range "
                "that it was fitted to; they are clipped at the device's limits, and no gradient passes them. "
                "Keep them in range (BatchNorm1d or Tanh before the layer, and input_range), or fit it anew: "
                "layer.fit(x)",
                HwloopWarning,
                stacklevel=5,
            )

    def extra_repr(self) -> str:
        """How features are scaled, once that is known."""
        return self.chosen.text if self.chosen.reason else ""

    def rows_of(self, inputs: Any) -> Tensor:
        """A copy of inputs (..., n_features) as rows (rows, n_features), float64 on the CPU.

        Raises
        ------
        StimulusError
            Another shape or type, or a value that is not finite.
        """
        n_features = self.encoder.n_features
        if not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
            kind = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
            raise StimulusError(f"a physical layer takes a tensor of floating point numbers, not {kind}")
        if inputs.ndim == 0 or inputs.shape[-1] != n_features:
            raise StimulusError(
                f"this physical layer takes inputs of shape (..., {n_features}), not {tuple(inputs.shape)}"
            )
        values = np.array(inputs.detach().to("cpu", torch.float64).numpy()).reshape(-1, n_features)
        if not np.isfinite(values).all():
            row, feature = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise StimulusError(
                f"row {row}, feature {feature} of a physical layer's inputs is {values[row, feature]}; training "
                "has diverged before it, or the data hold it"
            )
        return torch.from_numpy(values)
