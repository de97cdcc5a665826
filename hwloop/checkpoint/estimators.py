"""What a checkpoint keeps of an estimator beside its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hwloop.checkpoint.file import require_network
from hwloop.errors import CheckpointError


@dataclass(frozen=True)
class SavedEstimator:
    """A fitted estimator without its network.

    Attributes
    ----------
    entry
        Its name among a checkpoint's details, and in messages.
    options
        Arguments of its constructor, plain JSON values.
    feature_names
        Of the columns, where they had names.
    """

    entry: ClassVar[str]

    options: dict[str, Any]
    feature_names: tuple[str, ...] | None = None

    def details(self) -> dict[str, Any]:
        """For :func:`hwloop.save_network`; :meth:`read` gives the same back.

        Raises
        ------
        CheckpointError
            An option, or what else it holds, is nothing that a file can hold.
        """
        options = plain_options(self.options)
        names = None if self.feature_names is None else list(self.feature_names)
        return {self.entry: {"options": options, "feature_names": names, **self._more()}}

    def _more(self) -> dict[str, Any]:
        """What such an estimator keeps beside options and names."""
        return {}

    @classmethod
    def read(cls, described: Mapping[str, Any], path: object) -> Self:
        """From a checkpoint's description.

        Raises
        ------
        CheckpointError
            It holds something else, or says something that is not understood.
        """
        require_network(described, path)
        details = described.get("details") or {}
        stored = details.get(cls.entry)
        if stored is None:
            held = next((f"a {kind.entry}" for kind in KINDS if kind.entry in details), "a network")
            opened = "hwloop.load_network" if held == "a network" else "its own class"
            raise CheckpointError(f"{path} holds {held}, and no {cls.entry}; open it with {opened}")
        try:
            options, names = dict(stored["options"]), stored["feature_names"]
            more = cls._read_more({k: v for k, v in stored.items() if k not in ("options", "feature_names")})
            if "device" not in options:
                raise ValueError("its options name no device")
            return cls(options, None if names is None else tuple(map(str, names)), **more)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CheckpointError(
                f"the {cls.entry} in {path} is not understood ({type(error).__name__}: {error}); was it saved by "
                "another version of hwloop?"
            ) from error

    @classmethod
    def _read_more(cls, stored: dict[str, Any]) -> dict[str, Any]:
        """Arguments from what :meth:`_more` gave; what is not understood is an error."""
        if stored:
            raise ValueError(f"its entry {min(stored)!r} is not understood")
        return {}


@dataclass(frozen=True, kw_only=True)
class SavedClassifier(SavedEstimator):
    """A fitted classifier without its network.

    Attributes
    ----------
    classes
        As they were given, in order.
    """

    entry: ClassVar[str] = "classifier"

    classes: NDArray[Any]

    def _more(self) -> dict[str, Any]:
        return {"classes": {"dtype": _dtype_of(self.classes), "values": self.classes.tolist()}}

    @classmethod
    def _read_more(cls, stored: dict[str, Any]) -> dict[str, Any]:
        found = stored.pop("classes")
        super()._read_more(stored)
        values, dtype = found["values"], found["dtype"]
        classes = np.array(values, dtype=dtype)
        if classes.ndim != 1 or classes.tolist() != values or _dtype_of(classes) != dtype:
            raise ValueError(f"its classes {values!r:.100} are not of the type {dtype!r}")
        return {"classes": classes}


class SavedRegressor(SavedEstimator):
    """A fitted regressor without its network, which knows its targets."""

    entry: ClassVar[str] = "regressor"


KINDS: tuple[type[SavedEstimator], ...] = (SavedClassifier, SavedRegressor)


def feature_names(described: Mapping[str, Any], path: object) -> tuple[str, ...] | None:
    """Names of the columns that an estimator was fitted to; ``None`` where a checkpoint knows of none.

    Raises
    ------
    CheckpointError
        It is not understood.
    """
    details = described.get("details") or {}
    kind = next((kind for kind in KINDS if kind.entry in details), None)
    return None if kind is None else kind.read(described, path).feature_names


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a constructor as plain JSON values.

    Raises
    ------
    CheckpointError
        One is nothing that a file can hold.
    """
    return {name: _plain(value, f"the option {name}") for name, value in options.items()}


def _dtype_of(classes: NDArray[Any]) -> str:
    if classes.dtype.kind in "Uiufb":
        return classes.dtype.str
    if classes.dtype.kind == "O" and all(isinstance(each, str) for each in classes):
        return "object"
    raise CheckpointError(f"classes of the type {classes.dtype} cannot be saved; use text or numbers")


def _plain(value: Any, what: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(each, what) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, what) for each in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise CheckpointError(
        f"{what} holds a {type(value).__name__}, which a file cannot keep; set it to text or numbers to save"
    )
