"""What a checkpoint names by its kind and makes again."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar, Self

from hwloop.errors import ConfigError
from hwloop.registry import TRAINERS


class OfKind:
    """Base of what a checkpoint names by its kind and makes again.

    Attributes
    ----------
    kind
        Its name in a checkpoint, which no other one derived from the same base has.
    """

    kind: ClassVar[str]

    @classmethod
    def of_kind(cls, kind: str) -> type[Self]:
        """The class of a kind among those derived from this one, in hwloop and in installed trainers' packages.

        Raises
        ------
        KeyError
            There is none: the package that defines it is not installed.
        """
        if kind not in (known := cls._kinds()):
            for name in TRAINERS.entries():
                with suppress(ConfigError):
                    TRAINERS.load(name)  # what a third party trains with stands beside its trainer
            known = cls._kinds()
        return known[kind]

    @classmethod
    def _kinds(cls) -> dict[str, type[Self]]:
        found = {cls.kind: cls} if "kind" in cls.__dict__ else {}
        for derived in cls.__subclasses__():
            found |= derived._kinds()
        return found
