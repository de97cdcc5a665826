"""Fixtures that every pytest run has once hwloop is installed; found through the entry point ``pytest11``.

Nothing heavy is imported until a test asks for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hwloop.experiment.evidence import Evidence
    from hwloop.replay import Replay

SHOWN_DIFFERENCES = 10


@pytest.fixture
def recorded_device(request: pytest.FixtureRequest) -> Iterator[Callable[..., Replay]]:
    """Opens devices that answer from a recorded run: ``recorded_device("night1", run_seed=0)``.

    Takes what :class:`hwloop.Replay` takes; a relative path counts from the test file's folder. Every device is
    closed when the test ends.
    """
    from hwloop.replay import Replay

    with ExitStack() as stack:

        def opened(path: str | Path, **settings: Any) -> Replay:
            return stack.enter_context(Replay(_beside_test(request, path), **settings))

        yield opened


@pytest.fixture
def replay_run(request: pytest.FixtureRequest) -> Callable[..., Evidence]:
    """Runs a recorded experiment again, from its journals alone, and returns its evidence.

    ``evidence = replay_run("recordings/night1")``. The test fails if any result differs from the recorded one by
    a bit. Floors are computed and compared ``with_references=True`` alone. Nothing is written to the
    run's folder. A relative path counts from the test file's folder.
    """

    def replayed(path: str | Path, with_references: bool = False) -> Evidence:
        from hwloop.experiment.runner import replay_experiment
        from hwloop.experiments.datasets import split

        replay = replay_experiment(_beside_test(request, path), split, with_references=with_references)
        if replay.differences:
            more = len(replay.differences) - SHOWN_DIFFERENCES
            listed = "\n  ".join(replay.differences[:SHOWN_DIFFERENCES])
            pytest.fail(
                f"the replay of {path} differs from what was recorded in\n  {listed}"
                + (f"\n  and {more} more" if more > 0 else "")
                + "\nCompare the versions in its environment.json with those installed.",
                pytrace=False,
            )
        return replay.evidence

    return replayed


def _beside_test(request: pytest.FixtureRequest, path: str | Path) -> Path:
    return Path(request.path).parent / path
