"""One physical layer with the digital maps around it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.layers.encode import Encoder
from hwloop.layers.rowwise import exact_linear
from hwloop.layers.standardise import Standardiser
from hwloop.registry import nearest


def identity(z: Tensor) -> Tensor:
    """No activation."""
    return z


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": identity, "relu": torch.relu}


class Stage(nn.Module):
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
        Append the stage's input to the measured features. Off by default: it hides what the physics does.
    reference_slots, controls, scaling
        See :class:`hwloop.layers.Encoder`.
    """

    encoder: Encoder
    standardiser: Standardiser
    linear: nn.Linear

    def __init__(
        self,
        width: int = 100,
        activation: str | None = None,
        *,
        bypass: bool = False,
        reference_slots: int | None = None,
        controls: tuple[float, ...] = (),
        scaling: str = "global",
    ) -> None:
        super().__init__()
        if width < 1:
            raise ConfigError(f"a stage's width must be at least 1, not {width}")
        if (activation or "none") not in ACTIVATIONS:
            raise ConfigError(f"unknown activation {activation!r}: {nearest(str(activation), ACTIVATIONS)}")
        self.width = width
        self.activation = activation or "none"
        self.bypass = bypass
        self._encoding = {
            "reference_slots": reference_slots,
            "controls": tuple(controls),
            "scaling_name": scaling,
        }

    def build(self, spec: DeviceSpec, n_features: int, seed: int) -> None:
        """Create encoder, standardiser and linear map for a device and an input width."""
        self.spec = spec
        self.encoder = Encoder(spec, n_features, seed=seed, **self._encoding)  # type: ignore[arg-type]
        self.standardiser = Standardiser(spec.n_outputs)
        self.n_features = spec.n_outputs + (n_features if self.bypass else 0)
        # From "meta", because drawing the values that reset_map replaces would move torch's global generator.
        self.linear = nn.Linear(self.n_features, self.width, device="meta").to_empty(device="cpu")
        self.reset_map(torch.Generator().manual_seed(seed))

    def reset_map(self, rng: torch.Generator) -> None:
        """Draw the linear map afresh: variance 1/n_features (LeCun), zero bias."""
        with torch.no_grad():
            self.linear.weight.normal_(0.0, self.n_features**-0.5, generator=rng)
            self.linear.bias.zero_()

    def features(self, inputs: Tensor, responses: Float64Array) -> Tensor:
        """What the linear map sees: standardised responses (rows, n_features), float32, no gradient."""
        standardised: Tensor = self.standardiser(torch.from_numpy(responses))
        if not self.bypass:
            return standardised
        return torch.cat([standardised, inputs.detach().to(torch.float32)], dim=1)

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
        return projection + encoder.n_data + self.spec.n_outputs + self.n_features * self.width
