"""What a checkpoint keeps of a classifier beside its network: options, classes of any type, names of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import CheckpointError

ENTRY = "classifier"  # among a checkpoint's details
KEYS = {"options", "classes", "feature_names"}


@dataclass(frozen=True)
class SavedClassifier:
    """A fitted classifier without its network.

    Attributes
    ----------
    options
        Arguments of its constructor, plain JSON values.
    classes
        As they were given, in order.
    feature_names
        Of the columns, where they had names.
    """

    options: dict[str, Any]
    classes: NDArray[Any]
    feature_names: tuple[str, ...] | None = None

    def details(self) -> dict[str, Any]:
        """For :func:`hwloop.save_network`; :meth:`read` gives the same back.

        Raises
        ------
        CheckpointError
            An option or a class is nothing that a file can hold.
        """
        options = {name: _plain(value, f"the option {name}") for name, value in self.options.items()}
        names = None if self.feature_names is None else list(self.feature_names)
        classes = {"dtype": _dtype_of(self.classes), "values": self.classes.tolist()}
        return {ENTRY: {"options": options, "classes": classes, "feature_names": names}}

    @classmethod
    def read(cls, described: Mapping[str, Any], path: object) -> SavedClassifier:
        """From a checkpoint's description.

        Raises
        ------
        CheckpointError
            It is a network's alone, or says something that is not understood.
        """
        stored = (described.get("details") or {}).get(ENTRY)
        if stored is None:
            raise CheckpointError(f"{path} holds a network, and no classifier; open it with hwloop.load_network")
        try:
            unknown = sorted(set(stored) - KEYS)
            if unknown:
                raise ValueError(f"its entry {unknown[0]!r} is not understood")
            values, dtype, names = stored["classes"]["values"], stored["classes"]["dtype"], stored["feature_names"]
            classes = np.array(values, dtype=dtype)
            if classes.ndim != 1 or classes.tolist() != values or _dtype_of(classes) != dtype:
                raise ValueError(f"its classes {values!r:.100} are not of the type {dtype!r}")
            if "device" not in stored["options"]:
                raise ValueError("its options name no device")
            return cls(dict(stored["options"]), classes, None if names is None else tuple(map(str, names)))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CheckpointError(
                f"the classifier in {path} is not understood ({type(error).__name__}: {error}); was it saved by "
                "another version of hwloop?"
            ) from error


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
