"""What unit tests share."""

from functools import partial

import pytest


@pytest.fixture
def quick_readouts(monkeypatch):
    """The softmax that output-error trainers end with takes a few steps, not hundreds."""
    from hwloop.training.optimiser import AdamSettings
    from hwloop.training.readouts import linear

    monkeypatch.setattr(linear, "AdamSettings", partial(AdamSettings, epochs=1, min_steps=8))
