"""The figures of a passport: what each is."""

from __future__ import annotations

from hwloop.calibration.figure_table import Figure

GROUPS: dict[str, dict[str, Figure]] = {
    "Size": {
        "nodes": Figure("outputs", "numbers read at a step"),
        "independent": Figure("independent outputs", "linearly independent ones: no capacity is more"),
    },
    "Processing capacity": {
        "capacity": Figure("total", "functions of the inputs that a linear map of the outputs gives"),
        "memory": Figure("linear", "of the inputs themselves, all delays and channels together"),
        "nonlinear": Figure("nonlinear", "of products of inputs, degree 2 and more"),
        "reach": Figure("reach of the memory", "mean delay of what is held linearly, in steps"),
    },
    "Separation": {
        "kernel_rank": Figure("kernel rank", "directions above noise of as many different inputs"),
        "generalisation_rank": Figure("generalisation rank", "the same of inputs that are alike, within 5 %"),
        "effective_dimension": Figure("effective dimension", "participation ratio of the outputs' covariance"),
    },
    "Trust": {
        "consistency": Figure("consistency", "correlation of an output with itself when inputs are repeated"),
        "noise_share": Figure("noise", "standard deviation of repeats, of the outputs' spread", "", True),
        "drift": Figure("drift", "rms change from the first to the last rows, of the spread", "", True),
    },
}
