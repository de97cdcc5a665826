"""Rows a second of the simulated microwave cavity, beside plain inversion of the same dipoles.

Plain inversion builds and inverts the whole interaction matrix for every row and frequency, as the formalism is
written down; the second comparison builds it once and only inverts.

    python benchmarks/microwave_rows.py
"""

import time

import numpy as np
from sizes import sized
from table import print_table

from hwloop.simulators.microwave.cavity import PORT_COUPLING, MicrowaveCavity
from hwloop.simulators.microwave.chamber import plain_scattering

ROWS, FREQUENCIES = sized((1024, 20), short=(8, 2))
PLAIN_ROWS, REPEATS = sized((3, 3), short=(1, 1))


def main() -> None:
    begin = time.perf_counter()
    cavity = MicrowaveCavity(n_inputs=40, n_receivers=2, n_frequencies=FREQUENCIES, n_scatterers=23)
    setting_up = time.perf_counter() - begin
    chamber = cavity.chambers[0]
    dipoles = len(chamber.antennas) + len(chamber.fixed) + len(chamber.pixels)
    states = np.random.default_rng(0).integers(0, 2, (ROWS, 40)).astype(float)
    cavity.measure(states[:64])
    fast = max(rate(lambda: cavity.measure(states), ROWS) for _ in range(REPEATS))

    def invert(each: int) -> None:
        for start in range(0, PLAIN_ROWS, each):
            for frequency in cavity.frequencies:
                plain_scattering(chamber, frequency, PORT_COUPLING, states[start : start + each])

    plain = max(rate(lambda: invert(1), PLAIN_ROWS) for _ in range(REPEATS))
    only_inverted = max(rate(lambda: invert(PLAIN_ROWS), PLAIN_ROWS) for _ in range(REPEATS))
    found, truth = (
        cavity.transmission(states[:PLAIN_ROWS]),
        np.stack(
            [plain_scattering(chamber, f, PORT_COUPLING, states[:PLAIN_ROWS]) for f in cavity.frequencies], 1
        ),
    )
    truth = truth[:, :, 1:, :1]
    error = np.abs(found - truth).max() / np.abs(truth).max()
    print_table(
        f"microwave-cavity: {dipoles} dipoles, 40 pixels, {FREQUENCIES} frequencies, {ROWS} rows a call; "
        f"largest relative difference {error:.0e}; set-up {setting_up:.2f} s",
        ["", "rows a second", "times plain inversion"],
        [
            ["microwave-cavity, noise included", f"{fast:,.0f}", f"{fast / plain:,.0f}"],
            ["plain inversion", f"{plain:.2f}", "1"],
            ["inversion alone, W built once", f"{only_inverted:.2f}", f"{only_inverted / plain:.1f}"],
        ],
    )


def rate(work: object, rows: int) -> float:
    """Rows a second of one call."""
    begin = time.perf_counter()
    work()
    return rows / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
