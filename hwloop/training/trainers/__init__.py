"""The shelf of trainers: what each declares of itself, and how its parts become the options that users set."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hwloop.training.options import meanings_of
from hwloop.training.trainer import Trainer
from hwloop.training.tuning import Choice, LogRange, tunable

PartType = TypeVar("PartType")
SEED = "Seed of every random choice in a fit."


@dataclass(frozen=True)
class Declaration:
    """What a trainer says of itself: a row of the tables in the documentation.

    Attributes
    ----------
    learns
        What a map learns from, in a few words.
    rows, predict
        Device rows a training sample and a prediction, as the tables print them.
    later
        The same as ``rows`` in every stage but the first; empty where it is the same.
    """

    learns: str
    rows: str
    later: str
    predict: str


@dataclass(frozen=True)
class _Offer:
    """A part, and those of its options that users can set: the part's name of each by the name that users give."""

    part: Any
    options: Mapping[str, str]


def offering(part: PartType, *names: str, **renamed: str) -> PartType:
    """A part of which only some options are offered, as the default of a trainer's parameter.

    Parameters
    ----------
    names
        The options that are offered.
    renamed
        Others, by the name under which users know them: ``codes="groups"``.
    """
    offer: Any = _Offer(part, {name: name for name in names} | renamed)
    return offer  # type: ignore[no-any-return]  # what the trainer is given in its place is such a part


def _declared_options(part: Any) -> dict[str, dataclasses.Field[Any]]:
    if not dataclasses.is_dataclass(part):
        return {}
    return {each.name: each for each in dataclasses.fields(part) if "takes" in each.metadata}


class _Options:
    """The flat options of a trainer: those of its parts, its own, and the seed of its fits."""

    def __init__(self, compose: Callable[..., Trainer]) -> None:
        self.offers: dict[str, _Offer] = {}
        self.own: list[str] = []
        self.defaults: dict[str, Any] = {}
        self.meanings: dict[str, str] = {}
        self.takes: dict[str, str] = {}
        for name, parameter in inspect.signature(compose).parameters.items():
            part = parameter.default
            offer = part if isinstance(part, _Offer) else _Offer(part, {n: n for n in _declared_options(part)})
            if offer.options:
                self.offers[name] = offer
                self._take(offer, compose.__name__)
            else:
                self.own.append(name)
                self.defaults[name] = part
        if self.defaults.setdefault("seed", 0) == 0 and "seed" not in self.own:
            self.meanings["seed"] = SEED

    def _take(self, offer: _Offer, trainer: str) -> None:
        known, meanings = _declared_options(offer.part), meanings_of(offer.part)
        for option, of_part in offer.options.items():
            value = getattr(offer.part, of_part)
            if self.defaults.setdefault(option, value) != value:
                raise TypeError(f"two parts of {trainer} have {option} with different defaults")
            must = known[of_part].metadata["takes"].must
            values = must.removeprefix("be ").removeprefix("lie ").replace("not be ", "not ")
            self.takes[option] = values or str(known[of_part].type).replace(" | ", " or ")
            self.meanings[option] = meanings.get(of_part, "") + (f" It must {must}." if must else "")

    def parts(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a trainer's function, every part made afresh, from the options that are given."""
        made: dict[str, Any] = {name: given[name] for name in self.own if name in given}
        for name, offer in self.offers.items():
            told = {of_part: given[option] for option, of_part in offer.options.items() if option in given}
            made[name] = dataclasses.replace(offer.part, **told)
        return made

    def signature(self) -> inspect.Signature:
        """All of them as keyword parameters."""
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Signature([inspect.Parameter(n, kind, default=d) for n, d in self.defaults.items()])


def declared(
    *,
    learns: str,
    rows: str,
    later: str = "",
    predict: str = "1",
    fills_budget: str | None = None,
    tuned: Mapping[str, LogRange | Choice] | None = None,
) -> Callable[[Callable[..., Trainer]], Callable[..., Trainer]]:
    """Declare a trainer: a function from its parts to a :class:`hwloop.Trainer`.

    The function's parameters are its parts, each with a default whose options are those of the trainer, under
    their own names; and keyword options of its own. What comes out takes all of these options as keywords, and
    ``seed``. An option of two parts is given to both. The docstring is completed from the declaration.

    Parameters
    ----------
    learns, rows, later, predict
        See :class:`Declaration`.
    fills_budget, tuned
        See :func:`hwloop.training.tuning.tunable`.
    """
    declaration = Declaration(learns, rows, later, predict)

    def declare(compose: Callable[..., Trainer]) -> Callable[..., Trainer]:
        options = _Options(compose)
        signature = options.signature()

        @functools.wraps(compose)
        def build(**given: Any) -> Trainer:
            signature.bind(**given)
            trainer = compose(**options.parts(given))
            trainer.seed = given.get("seed", trainer.seed)
            trainer.__doc__ = build.__doc__  # what help() shows of it
            return trainer

        build.__doc__ = _documented(compose, declaration, options)
        for name, value in (("__signature__", signature), ("declaration", declaration), ("takes", options.takes)):
            setattr(build, name, value)
        return tunable(fills_budget=fills_budget, **tuned or {})(build)

    return declare


def _documented(compose: Callable[..., Trainer], declaration: Declaration, options: _Options) -> str:
    """The docstring, completed by the rows and the options of the parts."""
    later = f"; in each later one {declaration.later}" if declaration.later else ""
    rows = f"Rows: {declaration.rows} a sample a stage{later}; {declaration.predict} a stage to predict."
    lines = [inspect.getdoc(compose) or "", "", rows, "", "Options of its parts", "--------------------"]
    for name, meaning in options.meanings.items():
        lines += [f"{name} = {options.defaults[name]!r}", f"    {meaning}"]
    return "\n".join(lines)
