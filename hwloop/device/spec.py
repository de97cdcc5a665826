"""What a device promises: its channels, its physical limits and its pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DeviceSpec:
    """The contract of one device.

    Parameters
    ----------
    n_inputs, n_outputs
        Channels of a stimulus and of a response.
    input_low, input_high
        Physical limits of the stimulus in ``input_unit``, one number or an array of shape (n_inputs,).
    input_unit, output_unit
        Units as text, for messages, reports and exported files.
    max_rows
        Rows that one call of the driver may carry; ``None`` for no limit.
    row_seconds
        Expected time of one row in seconds, for forecasts and deadlines; ``None`` if unknown.
    deterministic
        True when the same stimulus always gives the same response to the last bit.
    """

    n_inputs: int
    n_outputs: int
    input_low: float | Float64Array = 0.0
    input_high: float | Float64Array = 1.0
    input_unit: str = ""
    output_unit: str = ""
    max_rows: int | None = None
    row_seconds: float | None = None
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("n_inputs", "n_outputs", "max_rows"):
            value = getattr(self, name)
            if value is None and name == "max_rows":
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"DeviceSpec.{name} must be a whole number of at least 1, not {value!r}")
            object.__setattr__(self, name, int(value))
        if self.row_seconds is not None and not (np.isfinite(self.row_seconds) and self.row_seconds >= 0):
            raise ValueError(f"DeviceSpec.row_seconds must be a time in seconds, not {self.row_seconds!r}")
        for name in ("input_low", "input_high"):
            object.__setattr__(self, name, self._checked_limit(name))
        if not np.all(np.asarray(self.input_low) < np.asarray(self.input_high)):
            raise ValueError("DeviceSpec.input_low must lie below input_high on every channel")

    def _checked_limit(self, name: str) -> float | Float64Array:
        limit = np.array(getattr(self, name), dtype=np.float64)  # a copy, so that nobody moves a limit later
        if limit.shape not in ((), (self.n_inputs,)):
            raise ValueError(
                f"DeviceSpec.{name} must be one number or have shape ({self.n_inputs},), not {limit.shape}"
            )
        if not np.all(np.isfinite(limit)):
            raise ValueError(f"DeviceSpec.{name} must be finite: a device without a limit cannot be protected")
        if limit.shape == ():
            return float(limit)
        limit.flags.writeable = False
        return limit

    @property
    def low(self) -> Float64Array:
        """Lower limit of every input channel, shape (n_inputs,)."""
        return np.broadcast_to(np.asarray(self.input_low, dtype=np.float64), (self.n_inputs,))

    @property
    def high(self) -> Float64Array:
        """Upper limit of every input channel, shape (n_inputs,)."""
        return np.broadcast_to(np.asarray(self.input_high, dtype=np.float64), (self.n_inputs,))

    def as_dict(self) -> dict[str, Any]:
        """The spec as plain numbers, lists and text, for JSON and TOML."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in values.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceSpec) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((self.n_inputs, self.n_outputs, self.input_unit, self.output_unit, self.max_rows))
