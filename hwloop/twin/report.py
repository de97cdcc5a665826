"""How well each candidate for a twin predicts rows that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.device.spec import Float64Array


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
