"""Re-training on a physical twin that follows the device: interfering waves behind an intensity detector."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hwloop.adapt.retraining import PredictedRetraining
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError

BATCH_ROWS = 128
FIT_EPOCHS = 60
FIRST_SATURATION = 0.1
HELD_OUT_SHARE = 0.1
FIT_RATE, FOLLOW_RATE = 0.3, 0.1  # peak steps of Adam, in units of a typical weight
STARTS = 6  # of the first fit: intensities have local minima, another for every output
STUCK = 1.3  # an output in one misses its rows by more than so many times the median output


class InterferenceTwin:
    """y = I / (1 + k I) with I = abs(A (x, 1))^2: A complex, shape (n_inputs + 1, n_outputs), k at least 0.

    Fields add and a detector sees their intensity, with one saturation k for all outputs: optics, acoustics or
    microwaves. Fitted by Adam (Kingma and Ba, ICLR 2015) on real and imaginary parts; outputs that end in a local
    minimum start afresh, as in every retrieval of phases from intensities.

    Attributes
    ----------
    error
        Root mean square error of the first fit on rows held out, in units of the responses' deviation.
    """

    def __init__(self, stimuli: Float64Array, responses: Float64Array, rng: torch.Generator) -> None:
        self._unit = float(responses.std(axis=0).mean()) or 1.0
        x, y = self._design(stimuli), self._targets(responses)
        self._size = float((y.abs().mean() / (2 * x.square().sum(dim=1).mean())).sqrt())
        self._log_saturation = torch.tensor(float(np.log(FIRST_SATURATION)), dtype=torch.float32)
        order = torch.randperm(len(x), generator=rng)
        held, kept = order[: max(1, round(HELD_OUT_SHARE * len(x)))], order[round(HELD_OUT_SHARE * len(x)) :]
        self.weights, self._log_saturation = self._fitted(x[kept], y[kept], rng, self._log_saturation)
        self._leave_local_minima(x[kept], y[kept], rng)
        residual = self._predicted(x[held], self.weights, self._log_saturation) - y[held]
        self.error = float(residual.square().mean().sqrt() / y.std(dim=0).square().mean().sqrt().clamp_min(1e-12))

    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """Predicted responses, shape (rows, n_outputs)."""
        with torch.no_grad():
            predicted = self._predicted(self._design(stimuli), self.weights, self._log_saturation)
        return np.asarray(self._unit * predicted.to(torch.float64).numpy())

    def follow(
        self, stimuli: Float64Array, responses: Float64Array, row_weights: Float64Array, hold: float, steps: int
    ) -> None:
        """Move A to what the device answers now.

        Minimises sum of w (y - prediction)^2 + hold |A - A_before|^2, in units of the responses' deviation.

        Parameters
        ----------
        row_weights
            What each row counts, shape (rows,).
        hold
            How firmly A keeps its place.
        """
        x, y = self._design(stimuli), self._targets(responses)
        importance = torch.from_numpy(np.sqrt(row_weights)).to(torch.float32)[:, None]
        before = self.weights
        weights = before.clone().requires_grad_(True)
        optimiser, schedule = _adam([weights], FOLLOW_RATE * self._size, steps)
        for _ in range(steps):
            residual = importance * (self._predicted(x, weights, self._log_saturation) - y)
            loss = residual.square().sum() + hold * (weights - before).square().sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        self.weights = weights.detach()

    def _fitted(
        self, x: Tensor, y: Tensor, rng: torch.Generator, log_saturation: Tensor, moves: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Weights and saturation from a random start; the saturation stays as it is unless it ``moves``."""
        batch = min(BATCH_ROWS, len(x))
        start = self._size * torch.randn(x.shape[1], 2 * y.shape[1], generator=rng, dtype=torch.float32)
        weights, saturation = start.requires_grad_(True), log_saturation.clone().requires_grad_(moves)
        steps = FIT_EPOCHS * (len(x) // batch)
        optimiser, schedule = _adam([weights, saturation] if moves else [weights], FIT_RATE * self._size, steps)
        for _ in range(FIT_EPOCHS):
            order = torch.randperm(len(x), generator=rng)
            for first in range(0, len(x) - batch + 1, batch):
                rows = order[first : first + batch]
                loss = (self._predicted(x[rows], weights, saturation) - y[rows]).square().sum(dim=1).mean()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
        return weights.detach(), saturation.detach()

    def _leave_local_minima(self, x: Tensor, y: Tensor, rng: torch.Generator) -> None:
        """Start the outputs that are stuck afresh, and keep what is better."""
        spread = y.std(dim=0).clamp_min(1e-12)
        missed = self._missed(x, y, self.weights) / spread
        for _ in range(STARTS - 1):
            stuck = (missed > STUCK * missed.median()).nonzero()[:, 0]
            if len(stuck) == 0:
                return
            again, _ = self._fitted(x, y[:, stuck], rng, self._log_saturation, moves=False)
            missed_again = self._missed(x, y[:, stuck], again) / spread[stuck]
            better = missed_again < missed[stuck]
            for mine, theirs in zip(self.weights.chunk(2, dim=1), again.chunk(2, dim=1), strict=True):
                mine[:, stuck[better]] = theirs[:, better]
            missed[stuck] = torch.minimum(missed[stuck], missed_again)

    def _missed(self, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        """Root mean square error of every output."""
        return (self._predicted(x, weights, self._log_saturation) - y).square().mean(dim=0).sqrt()

    def _predicted(self, x: Tensor, weights: Tensor, log_saturation: Tensor) -> Tensor:
        real, imaginary = (x @ weights).chunk(2, dim=1)
        intensity = real.square() + imaginary.square()
        return intensity / (1 + log_saturation.exp() * intensity)

    def _design(self, stimuli: Float64Array) -> Tensor:
        rows = torch.from_numpy(stimuli).to(torch.float32)
        return torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float32)], dim=1)

    def _targets(self, responses: Float64Array) -> Tensor:
        return torch.from_numpy(responses / self._unit).to(torch.float32)


def _adam(
    parameters: list[Tensor], rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam whose rate rises over the first tenth and falls to zero."""
    optimiser = torch.optim.Adam(parameters, lr=rate)
    total = max(11, steps)
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=total, pct_start=0.1)


LARGEST_ERROR = 0.5  # of the first fit: beyond it the twin does not describe the device
REMEMBERED_STEPS = 2
KEPT = 0.1  # what a row counts one step later


class FollowingTwin:
    """A device's twin, and its rows of the last steps.

    Parameters
    ----------
    hold, steps
        See :meth:`hwloop.adapt.twin.InterferenceTwin.follow`.
    """

    def __init__(self, twin: InterferenceTwin, hold: float, steps: int) -> None:
        self.twin, self.hold, self.steps = twin, hold, steps
        self._recent: list[list[tuple[Float64Array, Float64Array]]] = []  # by step, the newest last

    def __call__(self, stimuli: Float64Array) -> Float64Array:
        """What the twin answers."""
        return self.twin(stimuli)

    def next_step(self) -> None:
        """What was measured so far is one step older."""
        self._recent = [*self._recent[1 - REMEMBERED_STEPS :], []]

    def follow(self, stimuli: Float64Array, responses: Float64Array) -> None:
        """Move the twin to these rows, the others of this step and, less, those before."""
        self._recent[-1].append((stimuli, responses))
        aged = [(KEPT**age, *rows) for age, step in enumerate(reversed(self._recent)) for rows in step]
        weights = np.concatenate([np.full(len(rows), weight) for weight, rows, _ in aged])
        every, answers = (np.concatenate([part[i] for part in aged]) for i in (1, 2))
        self.twin.follow(every, answers, weights, self.hold, self.steps)


class TwinRetraining(PredictedRetraining):
    """A physical model of the device follows it; the network is re-trained on what the model says.

    The model is :class:`hwloop.adapt.twin.InterferenceTwin`, the rest as in
    :class:`hwloop.adapt.retraining.PredictedRetraining`. For devices in which fields add; one that the twin cannot
    describe is refused before any row.

    Parameters
    ----------
    hold
        What keeps the twin's matrix where it was, see :meth:`InterferenceTwin.follow`; not negative.
    follow_steps
        Steps with which the twin follows the device in each step of the drift.
    train_steps, lr, response_noise
        Of the network's re-training.
    """

    def __init__(
        self,
        *,
        hold: float = 1.0,
        follow_steps: int = 150,
        train_steps: int = 150,
        lr: float = 0.003,
        response_noise: float = 0.4,
    ) -> None:
        super().__init__(train_steps=train_steps, lr=lr, response_noise=response_noise)
        if not hold >= 0:
            raise ConfigError(f"hold must not be negative, not {hold!r}")
        self.hold, self.follow_steps = hold, follow_steps

    def follower(self, stimuli: Float64Array, responses: Float64Array, noise: float) -> FollowingTwin:
        """The twin, fitted without a row to what the device answered during training."""
        twin = InterferenceTwin(stimuli, responses, self.rng)
        if not twin.error <= LARGEST_ERROR:
            raise ConfigError(
                f"a twin of interfering waves misses this device's responses by {100 * twin.error:.0f} % of their "
                f"deviation on {len(stimuli):,} rows; give more anchors, or take the policy kriging or recall"
            )
        return FollowingTwin(twin, self.hold, self.follow_steps)
