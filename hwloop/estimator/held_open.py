"""An estimator as a context manager, which keeps its devices open from one prediction to the next; its ledger."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from hwloop.session import Session


class HeldOpen:
    """``with model:`` opens the devices of the fitted model, and of every fit inside, and closes them at its end.

    Without it each fit and each prediction opens them and closes them to their safe state.
    """

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
