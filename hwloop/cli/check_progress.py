"""What ``hwloop check`` is doing, on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.status import Status

from hwloop.cli.console import PipedConsole

if TYPE_CHECKING:
    from hwloop.session import Forecast


class CheckProgress:
    """The forecast on a line of its own; on a terminal also which promise is being checked."""

    def __init__(self) -> None:
        self._console = PipedConsole(stderr=True, highlight=False, markup=False)
        self._status = Status("opening the device", console=self._console)

    def forecast(self, forecast: Forecast) -> None:
        """Say what the check will take."""
        self._console.print(f"checking: {forecast}, more where a result has to be confirmed", soft_wrap=True)

    def promise(self, question: str, number: int, count: int) -> None:
        """Say what is being checked."""
        self._status.update(f"{number}/{count} {question}")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()
