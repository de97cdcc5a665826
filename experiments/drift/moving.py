"""A device that moves when it is told to, and the devices of one seed at every position, with their journals."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwloop.device import Device, RowHandling
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.rigs import PlannedRig
from hwloop.experiments.campaign import KeptRig
from hwloop.journal import Journal
from hwloop.layers import PhysicalNetwork
from hwloop.session import Session
from hwloop.session.device_state import nested


class Moving(Device):
    """Answers as one of several devices, from the first to whichever :meth:`move_to` names.

    Raises
    ------
    ConfigError
        They differ in channels.
    """

    simulated = True

    handling = RowHandling()

    def __init__(self, positions: Sequence[Device]) -> None:
        shapes = {(part.spec.n_inputs, part.spec.n_outputs) for part in positions}
        if len(shapes) != 1:
            raise ConfigError(f"a device that moves keeps its channels, but its positions have {sorted(shapes)}")
        self.positions = list(positions)
        self.spec = self.positions[0].spec
        self._now = self.positions[0]

    @property
    def reproducible(self) -> bool:  # type: ignore[override]
        return all(position.reproducible for position in self.positions)

    def move_to(self, position: int) -> None:
        """Answer as position number ``position``, from 0, from the next row on."""
        self._now = self.positions[position]

    def identify(self) -> str:
        """The first position; a network that was trained on it does not see where it is now."""
        return f"moving through {len(self.positions)} positions from {self.positions[0].identify()}"

    def _measure(self, inputs: Float64Array) -> Float64Array:
        return self._now.measure(inputs)


class MovingRig(KeptRig):
    """Each device of the experiment, at every position; a killed seed finds its rows again.

    Parameters
    ----------
    config
        The experiment.
    positions
        The same at each position.
    folder
        For the journals of this seed alone. ``None``: in memory.
    """

    def __init__(
        self, config: ExperimentConfig, positions: Sequence[ExperimentConfig], folder: Path | None
    ) -> None:
        super().__init__(config, folder)
        self._positions = [PlannedRig(position) for position in positions]

    def _built(self, number: int, n_features: int, seed: int) -> Device:
        return Moving([position.device(number, n_features, seed) for position in self._positions])

    def journal(self, number: int, seed: int) -> Journal:
        """Of the training, on disk where there is a folder."""
        return self._journal(f"training/device-{number}")

    def copy_for(self, policy: str, network: PhysicalNetwork) -> PhysicalNetwork:
        """The trained network on devices as training left them, each with a journal of the policy's own."""
        folder = f"policy-{re.sub('[^A-Za-z0-9+-]', '_', policy)}"
        sessions: dict[int, Any] = {}
        for number, session in enumerate(network.distinct_sessions):
            device = copy.deepcopy(session.device)
            progress = session.journal.progress()
            if progress:  # where training was answered from its journal the device has not come so far
                device.resume(nested(progress))
            journal = self._journal(f"{folder}/device-{number}")
            sessions[id(session)] = Session(device, journal=journal, reference=session.reference)
        return copy.deepcopy(network, sessions)
