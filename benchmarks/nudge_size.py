"""How large a nudge should be: bias and noise of equilibrium propagation's gradient, on the settled ring.

    python benchmarks/nudge_size.py

Relative error of the derivative by the drives, over 512 rows, against the simulation's own; stimuli and the loss's
derivatives are normal, as a network's nearly are.
"""

from __future__ import annotations

import numpy as np
from sizes import sized

import hwloop
from hwloop.device.spec import Float64Array
from hwloop.simulators.oscillators.settled import SettledOscillators
from hwloop.training.rules.chain_rule import STATES, NudgeContrast

ROWS = sized(512, short=4)
SIZES = sized((0.03, 0.1, 0.2, 0.4, 1.0), short=(0.1,))


def cases(device: SettledOscillators) -> tuple[Float64Array, Float64Array]:
    """Free stimuli, and derivatives by the responses."""
    rng = np.random.default_rng(0)
    stimuli = np.zeros((ROWS, device.spec.n_inputs))
    drives = device.spec.n_drives
    stimuli[:, :drives] = np.clip(rng.standard_normal((ROWS, drives)) / 3, -1, 1)
    return stimuli, rng.standard_normal((ROWS, device.spec.n_outputs))


def relative_error(found: Float64Array, exact: Float64Array) -> float:
    """Root of the mean square error over that of the truth."""
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def main() -> None:
    """Print a table in Markdown."""
    noisy = SettledOscillators(n_inputs=71)
    ideal = SettledOscillators(n_inputs=71, read_noise=0.0, dac_bits=None, adc_bits=None)
    stimuli, gradients = cases(noisy)
    exact = ideal.pull_back(stimuli, gradients)[:, : ideal.spec.n_drives]
    print("| states | size | error without noise | 1 % noise, 10 bits |")
    print("|---|---|---|---|")
    for states, nudges in STATES.items():
        for size in SIZES:
            found = []
            for device in (ideal, noisy):
                contrast = NudgeContrast(hwloop.Session(device), size, nudges)
                found.append(contrast(device.measure(stimuli), stimuli, gradients)[:, : device.spec.n_drives])
            errors = [relative_error(one, exact) for one in found]
            print(f"| {states} | {size} | {errors[0]:.1%} | {errors[1]:.1%} |")


if __name__ == "__main__":
    main()
