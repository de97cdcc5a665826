"""Frames altered at random: read or refused, in bounded time and memory."""

from __future__ import annotations

import numpy as np
import pytest

from hwloop.devices.worker.served import FrameError, decode_frame, encode_frame

FRAMES = [
    encode_frame({"op": "hello", "arguments": {}}),
    encode_frame({"op": "measure", "trial": 12}, {"inputs": np.linspace(0, 1, 12).reshape(3, 4)}),
    encode_frame(
        {"op": "run", "arguments": {"activity": ["counts", "spikes"], "gain": 0.5}},
        {"drive": np.ones((2, 3, 2), np.float32), "seeds": np.arange(4)},
    ),
    encode_frame({"op": "error", "kinds": ["OSError"], "message": "broken", "traceback": "line\n" * 5}),
]


@pytest.mark.slow
def test_twenty_thousand_altered_frames(fuzz):
    outcomes = fuzz(lambda data: decode_frame(data, longest=1_000_000), FRAMES, 20_000, seed=0, allowed=FrameError)
    assert outcomes["refused"] > 0.5 * outcomes.total()
    assert outcomes["read"] > 0.005 * outcomes.total()
