"""No capacity is more than there are independent outputs: a thousand random devices, with noise and without.

python benchmarks/capacity_bound.py

Recurrent networks of random size, strength and bias, read through random mixtures, some of them dependent.
Printed: the greatest total over the independent outputs, before and after it is held to them, and how many
intervals before do not reach down to the bound. Of a complete device 2.5 % do so by chance.
"""

import numpy as np
from sizes import sized
from table import print_table

from hwloop.passport.capacity import Samples, capacity

DEVICES, STEPS = sized((1000, 150), short=(10, 80))
WASHOUT, SEQUENCES, DEGREES, DELAYS = 30, 3, 3, 8


def random_device(seed):
    """Its capacities."""
    rng = np.random.default_rng(seed)
    nodes, read = int(rng.integers(2, 12)), int(rng.integers(2, 16))
    matrix = rng.standard_normal((nodes, nodes)) * rng.uniform(0.1, 1.1) / np.sqrt(nodes)
    weights, bias = rng.uniform(0.1, 1.5) * rng.standard_normal(nodes), 0.5 * rng.standard_normal(nodes)
    inputs = rng.uniform(-1, 1, (SEQUENCES, STEPS, 1))
    state, states = np.zeros((SEQUENCES, nodes)), []
    for t in range(STEPS):
        state = np.tanh(state @ matrix.T + inputs[:, t] * weights + bias)
        states.append(state)
    outputs = np.stack(states, axis=1)[:, WASHOUT:] @ rng.standard_normal((nodes, read))
    outputs += rng.choice([0.0, 0.05]) * rng.standard_normal(outputs.shape)
    return capacity(Samples(inputs, outputs), DEGREES, DELAYS, seed)


if __name__ == "__main__":
    found = [random_device(seed) for seed in range(DEVICES)]
    over = [float(each.total.value) / each.rank for each in found]
    before = [float(each.uncapped.value) / each.rank for each in found]
    beyond = sum(float(each.uncapped.low) > each.rank for each in found)
    print_table(
        f"{DEVICES:,} random devices, {SEQUENCES * (STEPS - WASHOUT)} samples each",
        ["", "median", "greatest", "intervals beyond the bound"],
        [
            ["total over independent outputs", f"{np.median(over):.3f}", f"{max(over):.6f}", ""],
            [
                "before it is held to them",
                f"{np.median(before):.3f}",
                f"{max(before):.3f}",
                f"{beyond} of {DEVICES}",
            ],
        ],
    )
