"""The twin itself: a device that answers with a fitted model and the residual noise of its fit, and its report."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from hwloop.blocks import in_fixed_blocks
from hwloop.device import Device, DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.twin.candidate import MAD_TO_SIGMA, ColumnScaling, Model


@dataclass(frozen=True, eq=False)
class CandidateScore:
    """One candidate's figures on the held-out rows, glitches and weak outputs included.

    Parameters
    ----------
    name
        The candidate.
    r2_per_output
        Coefficient of determination of every output, shape (n_outputs,).
    r2_uniform
        Its mean over the outputs: a weak output counts as much as a strong one.
    r2_variance_weighted
        Its mean weighted by the outputs' variances: the strong outputs decide.
    nrmse
        ``sqrt(1 - r2_variance_weighted)``: the residual's root mean square over the responses' spread.
    robust_error
        Mean absolute residual over mean absolute deviation, averaged over outputs: it decides who wins.
    seconds
        Time of the fit.
    """

    name: str
    r2_per_output: Float64Array
    r2_uniform: float
    r2_variance_weighted: float
    nrmse: float
    robust_error: float
    seconds: float

    @classmethod
    def of(
        cls, name: str, predicted: Float64Array, measured: Float64Array, seconds: float = 0.0
    ) -> CandidateScore:
        """Score predictions against measurements, both of shape (rows, n_outputs)."""
        residuals, deviations = measured - predicted, measured - measured.mean(axis=0)
        unexplained, variance = np.sum(residuals**2, axis=0), np.sum(deviations**2, axis=0)
        weighted = 1 - float(_ratio(unexplained.sum(), variance.sum()))
        per_output = 1 - _ratio(unexplained, variance)
        absolute = _ratio(np.abs(residuals).mean(axis=0), np.abs(deviations).mean(axis=0))
        return cls(
            name=name,
            r2_per_output=per_output,
            r2_uniform=float(per_output.mean()),
            r2_variance_weighted=weighted,
            nrmse=float(np.sqrt(1 - weighted)),
            robust_error=float(absolute.mean()),
            seconds=seconds,
        )


@dataclass(frozen=True, eq=False)
class TwinReport:
    """What was fitted, on how many rows, how well, and how long it took.

    All scores are of rows held out of the fit; the model that answers was then fitted to all rows.
    """

    winner: str
    candidates: tuple[CandidateScore, ...]
    fitted_rows: int
    held_out_rows: int
    data_sha256: str
    seconds: float

    @property
    def score(self) -> CandidateScore:
        """The winner's figures."""
        return next(candidate for candidate in self.candidates if candidate.name == self.winner)

    def __str__(self) -> str:
        """A small table, one line a candidate."""
        lines = [f"{self.held_out_rows} of {self.fitted_rows} rows held out   NRMSE   R2 uniform   seconds"]
        for one in self.candidates:
            mark = "*" if one.name == self.winner else " "
            lines.append(f"{mark} {one.name:<26} {one.nrmse:>10.4f} {one.r2_uniform:>12.4f} {one.seconds:>9.2f}")
        return "\n".join(lines)


def _ratio(part: Float64Array, whole: Float64Array) -> Float64Array:
    """``part / whole``; over a whole of zero 0 if the part is zero too, else 1: a constant output."""
    whole = np.asarray(whole)
    safe = np.where(whole > 0, whole, 1.0)
    return np.asarray(np.where(whole > 0, part / safe, (np.asarray(part) > 0).astype(np.float64)))


# Rows share one generator in chunks of this size, so that drawing many rows is fast.
CHUNK_ROWS = 256
# Squared residuals are limited to this many standard deviations in the fit of the scale, because of glitches.
GLITCH_SIGMAS = 4.0


@dataclass(frozen=True, eq=False)
class ResidualNoise:
    """Residuals that the fit left on held-out rows, drawn again at random.

    A row of noise is one measured row of residuals, resampled whole (the residual bootstrap; Efron and Tibshirani,
    An Introduction to the Bootstrap, section 9.4). So the outputs' common jitter, the heavy tails and the glitches
    come out as they were measured, and no distribution is assumed. Only the scale depends on the response, since
    the gain of a detector jitters: ``sigma(y)^2 = floor^2 + (gain y)^2``, per output. Slow drift in the measured
    rows appears as independent noise of the same size: order in time is not modelled.

    Parameters
    ----------
    standardised
        Residuals over ``sigma``, shape (held-out rows, n_outputs).
    floor
        Standard deviation at response 0, in the device's unit, shape (n_outputs,).
    gain
        Relative standard deviation at large responses, shape (n_outputs,).
    """

    standardised: Float64Array
    floor: Float64Array
    gain: Float64Array

    @classmethod
    def fitted_to(cls, predicted: Float64Array, measured: Float64Array) -> ResidualNoise:
        """Fit to predictions and measurements of held-out rows, both of shape (rows, n_outputs)."""
        residuals = measured - predicted
        limit = GLITCH_SIGMAS * MAD_TO_SIGMA * np.median(np.abs(residuals), axis=0)
        squares = np.minimum(residuals**2, limit**2)
        floor, gain = np.zeros(predicted.shape[1]), np.zeros(predicted.shape[1])
        for output, (response, square) in enumerate(zip(predicted.T, squares.T, strict=True)):
            unit = float(np.mean(square))
            level = float(np.mean(response**2))
            if unit > 0 and level > 0:
                design = np.stack([np.ones_like(response), response**2 / level], axis=1)
                variances, _ = nnls(design, square / unit)
                floor[output] = np.sqrt(variances[0] * unit)
                gain[output] = np.sqrt(variances[1] * unit / level)
            else:
                floor[output] = np.sqrt(unit)
        sigma = _sigma(floor, gain, predicted)
        # Not centred: glitches may all point one way, and their mean is no error of the other rows.
        return cls(standardised=residuals / np.where(sigma > 0, sigma, 1.0), floor=floor, gain=gain)

    def rows(self, responses: Float64Array, first_row: int, seed: int) -> Float64Array:
        """Noise for responses of shape (rows, n_outputs), the rows ``first_row``, ``first_row + 1``, ….

        The noise of row k depends on ``seed``, k and the response alone.
        """
        drawn = self._drawn_rows(first_row, len(responses), seed)
        return self.standardised[drawn] * _sigma(self.floor, self.gain, responses)

    def _drawn_rows(self, first: int, count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Which measured row each of ``count`` rows takes its residuals from."""
        chunks = range(first // CHUNK_ROWS, (first + count - 1) // CHUNK_ROWS + 1)
        drawn = [
            np.random.default_rng((seed, chunk)).integers(len(self.standardised), size=CHUNK_ROWS)
            for chunk in chunks
        ]
        start = first - chunks[0] * CHUNK_ROWS
        return np.concatenate(drawn)[start : start + count]


def _sigma(floor: Float64Array, gain: Float64Array, responses: Float64Array) -> Float64Array:
    return np.asarray(np.sqrt(floor**2 + (gain * responses) ** 2))


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
        scaling: ColumnScaling,
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
