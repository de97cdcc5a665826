"""What devices in another process or on another computer share: how long a call may take, and errors by name."""

from __future__ import annotations

from collections.abc import Mapping

from hwloop.device import DeviceSpec
from hwloop.errors import DeviceError, HwloopError

PACE_MARGIN = 10.0  # how many times its stated time a row may take


def answer_seconds(base_seconds: float, rows: int, spec: DeviceSpec) -> float:
    """How long a call may take: ``base_seconds``, and ten times what the spec states for its rows."""
    return base_seconds + PACE_MARGIN * (rows * (spec.row_seconds or 0.0))


def tuning_seconds(base_seconds: float, spec: DeviceSpec) -> float:
    """How long one write of tunables may take: ``base_seconds``, and ten times what they need to settle."""
    return base_seconds + PACE_MARGIN * max((each.settling_seconds for each in spec.tunables), default=0.0)


def class_named(kinds: object, known: Mapping[str, type[HwloopError]]) -> type[HwloopError]:
    """The error's class for the names of classes that came over, most special first: the first that is known.

    Anything else is a :class:`hwloop.DeviceError`: a name that is not known makes no class.
    """
    names = kinds if isinstance(kinds, list) else []
    return next((known[name] for name in names if isinstance(name, str) and name in known), DeviceError)
