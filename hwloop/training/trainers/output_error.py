"""What trainers that learn from the error at the output share: plain rows, one schedule, a softmax on all "
"responses.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hwloop.training.optimiser import Update
from hwloop.training.plans import PlainRows
from hwloop.training.readouts.linear import FeatureSoftmaxBuilder
from hwloop.training.rules.output_error import ErrorRule
from hwloop.training.schedules.output_error import InterfaceNoise, OutputError, OutputErrorSettings
from hwloop.training.trainer import Trainer
from hwloop.training.trainers import declared
from hwloop.training.tuning import Choice, LogRange

Learning = tuple[ErrorRule, Update]


def learns_from_output_error(
    *, learns: str, later: str, tuned: Mapping[str, LogRange | Choice], rows: str = "1"
) -> Callable[[Callable[..., Learning]], Callable[..., Trainer]]:
    """Declare a trainer: a function from its parts to an error rule and what a map does with its gradient.

    The options of :class:`OutputErrorSettings` are added to those of the parts. A function that has a parameter
    ``settings`` is given them; one with a parameter ``noise`` has an interface noise.

    Parameters
    ----------
    learns, later, rows, tuned
        See :func:`hwloop.training.trainers.declared`.
    """

    def declare(compose: Callable[..., Learning]) -> Callable[..., Trainer]:
        own = inspect.signature(compose).parameters

        @functools.wraps(compose)
        def whole(settings: OutputErrorSettings, noise: InterfaceNoise | None = None, **parts: Any) -> Trainer:
            shared = {"settings": settings, "noise": noise}
            rule, update = compose(**parts, **{name: shared[name] for name in shared if name in own})
            return Trainer(PlainRows(), OutputError(rule, update, settings, noise), FeatureSoftmaxBuilder)

        kind = inspect.Parameter.KEYWORD_ONLY
        settings = inspect.Parameter("settings", kind, default=OutputErrorSettings())
        others = [parameter.replace(kind=kind) for name, parameter in own.items() if name != "settings"]
        whole.__signature__ = inspect.Signature([settings, *others])  # type: ignore[attr-defined]
        return declared(learns=learns, rows=rows, later=later, fills_budget="epochs", tuned=tuned)(whole)

    return declare
