"""How a run ends: its state and its last event say it, whatever happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from hwloop.errors import DeviceDrifted, JournalError, was_interrupted
from hwloop.events import Event
from hwloop.experiment.events import RunStopped
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.report import write_report
from hwloop.experiment.response import DeviceResponse
from hwloop.experiment.run_folder import RunFolder
from hwloop.runs.state import FAILED, INTERRUPTED


@contextmanager
def ended(
    folder: RunFolder, emit: Callable[[Event], None], seeds_finished: Callable[[], int], n_seeds: int
) -> Iterator[None]:
    """What happens inside ends the run; afterwards others may write its folder."""
    try:
        yield
    except BaseException as error:
        stopped = was_interrupted(error) or isinstance(error, BrokenPipeError)  # as with: hwloop run | head
        interrupted = stopped or isinstance(error, DeviceDrifted)
        reason = "interrupted" if stopped else f"{type(error).__name__}: {error}"
        with suppress(JournalError):  # why it stopped says more; without a state it counts as interrupted
            folder.write_state(INTERRUPTED if interrupted else FAILED, reason)
        with suppress(JournalError):
            emit(RunStopped(reason, seeds_finished(), n_seeds, str(folder.path)))
        raise
    finally:
        folder.close()


def conclude(
    folder: RunFolder, evidence: Evidence, responses: Sequence[DeviceResponse], class_names: Sequence[str]
) -> None:
    """Every seed is finished: the report, the evidence, the state."""
    write_report(evidence, responses, class_names, folder.path)
    folder.write_line({"event": "Evidence", **evidence.as_json()})
    folder.finish()
