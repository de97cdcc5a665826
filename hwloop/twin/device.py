"""The twin itself: a device that answers with a fitted model and the residual noise of its fit."""

from __future__ import annotations

from dataclasses import replace

from hwloop.blocks import in_fixed_blocks
from hwloop.device import Device, DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.twin.candidate import Model
from hwloop.twin.report import TwinReport
from hwloop.twin.residual_noise import ResidualNoise
from hwloop.twin.scaling import Scaling


class Twin(Device):
    """A surrogate of a measured device; :func:`hwloop.twin.fit` makes one.

    Parameters
    ----------
    spec
        Its limits are the range of the fitted stimuli, a little rounded: beyond them the model knows nothing.
    scaling
        Standardises a stimulus, as the model was fitted.
    model
        Standardised stimuli to responses.
    report
        Scores of every candidate on held-out rows.
    noise
        Residual noise; ``None`` for a twin that answers the same every time.
    seed
        Seed of the noise. The noise of the k-th row measured depends on the seed and k alone.

    Attributes
    ----------
    rows_measured
        Rows answered so far: the place in the noise stream. Set it to go on from a saved place.
    """

    simulated = True

    reproducible = True

    def __init__(
        self,
        spec: DeviceSpec,
        scaling: Scaling,
        model: Model,
        report: TwinReport,
        noise: ResidualNoise | None = None,
        seed: int = 0,
    ) -> None:
        self.spec = spec
        self.scaling = scaling
        self.model = model
        self.report = report
        self.noise = noise
        self.seed = seed
        self.rows_measured = 0

    def identify(self) -> str:
        """The winning candidate, what it was fitted to, and the seed of the noise."""
        noise = "noiseless" if self.noise is None else f"seed {self.seed}"
        data = f"{self.report.fitted_rows} rows sha256:{self.report.data_sha256[:16]}"
        return f"twin ({self.report.winner}, fitted to {data}, {noise})"

    def noiseless(self) -> Twin:
        """The same twin without noise; its responses are the model's, bit for bit the same in any batch."""
        return Twin(replace(self.spec, deterministic=True), self.scaling, self.model, self.report)

    def reseeded(self, seed: int) -> Twin:
        """The same twin with another noise stream, from its beginning."""
        return Twin(self.spec, self.scaling, self.model, self.report, self.noise, seed)

    def pull_back(self, stimuli: Float64Array, gradients: Float64Array) -> Float64Array:
        """Derivative by the stimuli (rows, n_inputs), from that by the responses (rows, n_outputs)."""
        return self.model.pull_back(self.scaling.forward(stimuli), gradients) / self.scaling.spread

    def continue_from(self, rows: int) -> None:
        """Noise goes on as after ``rows`` rows."""
        self.rows_measured = rows

    def _measure(self, inputs: Float64Array) -> Float64Array:
        responses = in_fixed_blocks(lambda rows: self.model(self.scaling.forward(rows)), inputs)
        if self.noise is not None:
            responses = responses + self.noise.rows(responses, self.rows_measured, self.seed)
        self.rows_measured += len(inputs)
        return responses
