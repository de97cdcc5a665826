"""NIR files as other libraries export them: the spikes that those libraries counted themselves."""

from pathlib import Path

import numpy as np
import pytest

import hwloop

pytest.importorskip("h5py", reason="needs the extra 'nir'")

FILES = Path(__file__).parent / "nir_exports"
STEPS = 100


@pytest.mark.parametrize(("library", "step_seconds"), [("norse", 1e-3), ("snntorch", 1e-4)])
def test_the_same_spikes_and_nothing_to_say(library, step_seconds):
    with np.load(FILES / "counts.npz") as stored:
        stimuli, expected = stored["stimuli"], stored[library]
    window = {"step_seconds": step_seconds, "window_seconds": STEPS * step_seconds}
    with hwloop.open_device(f"nir:{FILES / library}.nir", output="counts", **window) as device:
        found = device.measure(stimuli)
    assert expected.sum() > 300
    # Both compute in single precision: a spike may move by a step, and beyond the window.
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.98


def test_another_time_step_is_said_where_nothing_fires():
    settings = {"step_seconds": 1e-5, "window_seconds": 1e-3}
    device = hwloop.open_device(f"nir:{FILES / 'norse.nir'}", **settings)
    with pytest.warns(hwloop.errors.HwloopWarning) as said, device:
        pass
    assert [("10 neurons" in str(one.message), "time step" in str(one.message)) for one in said] == [
        (True, True),
        (False, False),  # silent because those before it are
    ]
