"""The cavity in time: every mode by its exact recursion, scatterers by an implicit step; in torch.

Mode n obeys a'' + 2 gamma a' + w_n^2 a = f(t). For a force that runs straight between two instants its state
(a, a') at the next one is exact, a linear map of the state and the two forces (first-order hold: the exponential
of the augmented matrix, Van Loan, IEEE Trans. Autom. Control 23, 395 (1978)). The scatterers' forces at the next
instant depend on the rates there; a contraction finds them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import expm
from torch import Tensor

from hwloop.device.spec import Float64Array
from hwloop.simulators.acoustic.medium import Medium, Resistor
from hwloop.simulators.acoustic.shapes import Places
from hwloop.torch_state import own_torch_state

BLOCK_ROWS = 32  # stepped together, always so many: no row's rounding depends on its neighbours
LARGEST_FEEDBACK = 0.5  # of a scatterer's force on itself within a step
PRECISION = 1e-13  # to which the implicit step is solved


class ModalStepping:
    """Steps a cavity through time from rest, in double precision.

    Parameters
    ----------
    medium, places, law, strength
        The cavity, who stands where, the scatterers' law and their strength in m^2/s.
    step_seconds
        Time of a step.
    torch_device
        Where it is computed.

    Raises
    ------
    ValueError
        The step is so long that the scatterers' implicit step would not converge; the message names one that is
        not.
    """

    @own_torch_state()
    def __init__(
        self,
        medium: Medium,
        places: Places,
        law: Resistor,
        strength: float,
        step_seconds: float,
        torch_device: str = "cpu",
    ) -> None:
        self._law, self._device = law, torch_device
        turn, now, following = recursion(medium, step_seconds)
        at_scatterers = medium.shapes_at(places.scatterers)
        self._self_force = self._tensor(strength * (at_scatterers * following[:, 1]) @ at_scatterers.T)
        feedback = (
            law.steepest * float(torch.linalg.matrix_norm(self._self_force, 2)) if at_scatterers.size else 0.0
        )
        if feedback > LARGEST_FEEDBACK:
            # The modes' common answer grows no faster than the step: half the bound is on the safe side.
            allowed = LARGEST_FEEDBACK / (law.steepest * strength * float(np.square(at_scatterers).sum()))
            raise ValueError(
                f"a step of {step_seconds:g} s is unstable with these scatterers; "
                f"the nearest allowed value is about {allowed:.3g} s"
            )
        self._iterations = int(np.ceil(np.log(PRECISION) / np.log(feedback))) if feedback > 0 else 1
        self._turn = [self._tensor(turn[:, i, j]) for i in (0, 1) for j in (0, 1)]
        self._now, self._following = ([self._tensor(part[:, i]) for i in (0, 1)] for part in (now, following))
        self._to_scatterers = self._tensor(at_scatterers.T)
        self._from_scatterers = self._tensor(-strength * at_scatterers)
        self._from_loudspeakers = self._tensor(medium.shapes_at(places.loudspeakers))
        self._to_microphones = self._tensor(medium.shapes_at(places.microphones).T)

    @own_torch_state()
    def __call__(self, signals: NDArray[np.floating]) -> Float64Array:
        """Pressures at the microphones, (rows, steps, microphones), for sources (rows, steps, loudspeakers).

        The first instant is at rest, with the first force already there.
        """
        found = []
        for start in range(0, len(signals), BLOCK_ROWS):
            block = np.zeros((BLOCK_ROWS, *signals.shape[1:]))
            count = min(BLOCK_ROWS, len(signals) - start)
            block[:count] = signals[start : start + count]
            found.append(self._block(self._tensor(block.swapaxes(0, 1)))[:, :count].cpu().numpy())
        return np.asarray(np.concatenate(found, axis=1).swapaxes(0, 1))

    def _block(self, signals: Tensor) -> Tensor:
        steps, rows, _ = signals.shape
        heard = torch.zeros(steps, rows, self._to_microphones.shape[1], dtype=torch.float64, device=self._device)
        amplitude = torch.zeros(rows, self._to_microphones.shape[0], dtype=torch.float64, device=self._device)
        velocity, rates = amplitude, torch.zeros_like(amplitude @ self._to_scatterers)
        force = signals[0] @ self._from_loudspeakers
        for step in range(1, steps):
            played = signals[step] @ self._from_loudspeakers
            (aa, av, va, vv), (now_a, now_v), (next_a, next_v) = self._turn, self._now, self._following
            known_a = aa * amplitude + av * velocity + now_a * force + next_a * played
            known_v = va * amplitude + vv * velocity + now_v * force + next_v * played
            rates, answer = self._implicit(known_v @ self._to_scatterers, rates)
            resisted = answer @ self._from_scatterers
            amplitude, velocity = known_a + next_a * resisted, known_v + next_v * resisted
            force = played + resisted
            heard[step] = amplitude @ self._to_microphones
        return heard

    def _implicit(self, free: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
        """Rates v = free - M F(v) at the scatterers, always with as many iterations, and F(v)."""
        rates = guess
        for _ in range(self._iterations):
            rates = free - self._force(rates) @ self._self_force
        return rates, self._force(rates)

    def _force(self, rates: Tensor) -> Tensor:
        bounded = torch.tanh(rates)
        return bounded / (1 + self._law.offset * bounded)

    def _tensor(self, array: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.array(array, dtype=np.float64)).to(self._device)


def recursion(medium: Medium, step_seconds: float) -> tuple[Float64Array, Float64Array, Float64Array]:
    """What takes (a, a') of each mode over a step: its matrix, and the weights of the force now and then.

    Shapes (modes, 2, 2), (modes, 2) and (modes, 2).
    """
    angular = medium.angular_frequencies
    augmented = np.zeros((len(angular), 4, 4))
    augmented[:, 0, 1] = augmented[:, 1, 2] = 1.0
    augmented[:, 1, 0], augmented[:, 1, 1] = -(angular**2), -2 * medium.loss
    augmented[:, 2, 3] = 1 / step_seconds  # the force's slope, for a difference of 1 over the step
    exponential = expm(augmented * step_seconds)
    following = exponential[:, :2, 3]
    return exponential[:, :2, :2], exponential[:, :2, 2] - following, following
