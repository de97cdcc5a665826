"""A device that moves when it is told to: one of several, all of one shape."""

from __future__ import annotations

from collections.abc import Sequence

from hwloop.device import Device, RowHandling
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError


class Moving(Device):
    """Answers as one of several devices, from the first to whichever :meth:`move_to` names.

    Raises
    ------
    ConfigError
        They differ in channels.
    """

    simulated = True

    handling = RowHandling()

    def __init__(self, positions: Sequence[Device]) -> None:
        shapes = {(part.spec.n_inputs, part.spec.n_outputs) for part in positions}
        if len(shapes) != 1:
            raise ConfigError(f"a device that moves keeps its channels, but its positions have {sorted(shapes)}")
        self.positions = list(positions)
        self.spec = self.positions[0].spec
        self._now = self.positions[0]

    @property
    def reproducible(self) -> bool:  # type: ignore[override]
        """Whether every position is."""
        return all(position.reproducible for position in self.positions)

    def move_to(self, position: int) -> None:
        """Answer as position number ``position``, from 0, from the next row on."""
        self._now = self.positions[position]

    def identify(self) -> str:
        """The first position; a network that was trained on it does not see where it is now."""
        return f"moving through {len(self.positions)} positions from {self.positions[0].identify()}"

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return self._now.measure(inputs)
