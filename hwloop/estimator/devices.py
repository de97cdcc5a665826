"""An estimator that holds devices: kept open between predictions, shared by clones, named in files; its ledger."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from hwloop.device import Device
from hwloop.errors import ConfigError, HwloopWarning
from hwloop.session import Session

COLUMNS = ("n_features_in_", "feature_names_in_")  # what scikit-learn notes of the rows before anything is trained


class DeviceEstimator(BaseEstimator):  # type: ignore[misc]
    """``with model:`` opens the devices of the fitted model, and of every fit inside, and closes them at its end.

    Without it each fit and each prediction opens them and closes them to their safe state.
    """

    device: Any
    random_state: Any
    _held: tuple[ExitStack, ...] = ()  # one a ``with`` block

    @abstractmethod
    def _fitted_sessions(self) -> list[Session]:
        """Every session of the last fit once; none before."""

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self._fitted_sessions())

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for session in self._fitted_sessions():
                stack.enter_context(session)
            self._held = (*self._held, stack.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        *outer, stack = self._held
        self._held = tuple(outer)
        stack.__exit__(kind, error, trace)

    def _hold(self, sessions: Sequence[Session]) -> None:
        """Keep the sessions of a fit open to the end of the outermost ``with`` block, if there is one."""
        for stack in self._held[:1]:
            for session in sessions:
                stack.enter_context(session)

    @contextmanager
    def _unchanged_by_an_error(self) -> Iterator[None]:
        """A fit that failed leaves the columns of the one before it: what was fitted goes on to predict."""
        before = {name: self.__dict__[name] for name in COLUMNS if name in self.__dict__}
        try:
            yield
        except BaseException:
            for name in COLUMNS:
                self.__dict__.pop(name, None)
            self.__dict__.update(before)
            raise

    @property
    def ledger_(self) -> dict[str, int]:
        """Rows measured by purpose, over all devices."""
        check_is_fitted(self)
        ledgers = [session.ledger for session in self._fitted_sessions()]
        return {purpose: sum(ledger[purpose] for ledger in ledgers) for purpose in ledgers[0].rows}

    def __getstate__(self) -> dict[str, Any]:
        """A copy is outside of every ``with`` block."""
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_held"}

    def __sklearn_clone__(self) -> Self:
        """As scikit-learn clones, but for devices: a rig cannot be copied, so clones share it."""
        without_device = copy.copy(self)
        without_device.device = ()
        clone: Self = super(DeviceEstimator, without_device).__sklearn_clone__()
        clone.device = self.device
        return clone

    def _drawn(self) -> int:
        """A seed from ``random_state``."""
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _options_of_file(self) -> dict[str, Any]:
        """The options that a file keeps: a rig and a random generator cannot be written down."""
        options: dict[str, Any] = self.get_params(deep=False) | {"journal": None}
        devices = [self.device] if isinstance(self.device, str | Device) else list(self.device)
        if any(isinstance(device, Device) for device in devices):
            options["device"] = None  # the checkpoint names it
        if not isinstance(self.random_state, int | np.integer | None):
            options["random_state"] = None
            warnings.warn(
                f"random_state is a {type(self.random_state).__name__}, which no file keeps: it is saved as None",
                HwloopWarning,
                stacklevel=3,
            )
        return options


def given_devices(device: Any, stages: int) -> list[Device]:
    """Devices given to ``load``, one a stage.

    Raises
    ------
    ConfigError
        Something else.
    """
    every = [device] * stages if isinstance(device, Device) else device
    if not isinstance(every, Sequence) or not all(isinstance(each, Device) for each in every):
        raise ConfigError("load takes a hwloop.Device, or a list of them; make one with hwloop.open_device")
    return list(every)


@contextmanager
def put_back_after_an_error(random_state: Any) -> Iterator[None]:
    """A fit that failed has drawn nothing: the next one is the same fit, and goes on from its rows."""
    before = random_state.get_state() if isinstance(random_state, np.random.RandomState) else None
    try:
        yield
    except BaseException:
        if before is not None:
            random_state.set_state(before)
        raise
