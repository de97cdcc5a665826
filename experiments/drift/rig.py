"""The devices of one seed at every position, and the journals that keep what they answer."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwloop.device import Device
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.rigs import PlannedRig
from hwloop.experiments.drift.moving import Moving
from hwloop.experiments.kept_rig import KeptRig
from hwloop.journal import Journal
from hwloop.layers import PhysicalNetwork
from hwloop.session import Session
from hwloop.session.progress import nested


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
