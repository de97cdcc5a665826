"""Small devices with tunables: simulated physics, and a rig that notes every write and may lose its power."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwloop import Device, DeviceSpec, Session, Tunable
from hwloop.device.streams import NoiseStream
from hwloop.journal import DiskJournal

TUNABLES = (
    Tunable("phases", 3, -1.0, 1.0, unit="rad", rest=0.0, max_change=0.5),
    Tunable("pixels", 4, step=1.0),
)
OTHER = {"phases": [0.5, -0.5, 0.25], "pixels": [1, 0, 1, 1]}  # one write from rest


class TunedLayer(Device):
    """tanh of inputs that phases shift and pixels pass or block; simulated, with noise by seed and row number.

    Parameters
    ----------
    seed
        Of the noise.
    noise
        Its standard deviation.
    """

    simulated = True
    reproducible = True

    def __init__(self, seed: int = 0, noise: float = 0.0) -> None:
        self.seed, self.noise = seed, noise
        self.spec = DeviceSpec(4, 3, -1.0, 1.0, deterministic=not noise, tunables=TUNABLES)
        self.rows_measured = 0
        self._mixing = np.random.default_rng(seed).normal(size=(4, 3))

    def identify(self) -> str:
        return f"tuned layer (seed {self.seed}, noise {self.noise:g})"

    def continue_from(self, rows: int) -> None:
        self.rows_measured = rows

    def _measure(self, inputs):
        phases, pixels = self.tuning[:3], self.tuning[3:]
        answers = np.tanh((inputs * (0.5 + pixels)) @ self._mixing + phases)
        noise = NoiseStream(self.seed, "tuned-layer").normals(self.rows_measured, len(inputs), 3)
        self.rows_measured += len(inputs)
        return answers + self.noise * noise


class TunedRig(Device):
    """The same, as hardware: what is not written to it, it has not. Notes what happens to it, in order.

    Attributes
    ----------
    events
        ``"open"``, ``"close"`` and every write as a list of values.
    failing
        Errors that the next writes raise, one each; ``None`` lets one pass.
    """

    def __init__(self, tunables: tuple[Tunable, ...] = TUNABLES, serial: str = "7") -> None:
        self.spec = DeviceSpec(4, 3, -1.0, 1.0, deterministic=True, tunables=tunables)
        self.serial = serial
        self.events: list[Any] = []
        self.failing: list[Exception | None] = []
        self.failing_rows: list[Exception] = []
        self._values = np.full(self.spec.n_tunables, np.nan)  # unknown: switched on a moment ago
        self._mixing = np.random.default_rng(0).normal(size=(4, 3))

    def lose_power(self) -> None:
        """It stands anywhere afterwards."""
        self._values[:] = np.nan

    def identify(self) -> str:
        return f"tuned rig {self.serial}"

    def open(self) -> None:
        self.events.append("open")

    def close(self) -> None:
        self.events.append("close")

    def _tune(self, values):
        error = self.failing.pop(0) if self.failing else None
        if error is not None:
            self._values[:] = np.nan  # somewhere on the way
            raise error
        self.events.append(values.tolist())
        self._values = values

    def _measure(self, inputs):
        if self.failing_rows:
            raise self.failing_rows.pop(0)
        assert np.isfinite(self._values).all(), "rows on a device whose tuning nobody knows"
        return np.tanh(inputs @ self._mixing + self._values[:3]) + self._values[3:].sum()

    @property
    def writes(self) -> list[list[float]]:
        """The writes alone."""
        return [event for event in self.events if isinstance(event, list)]


def walk(folder, counted):
    """Rows under random tunings, some asked for again; counts every row that the device measures.

    Here, where a process that a test starts can import it.
    """

    class Counting(TunedLayer):
        def _measure(self, inputs):
            with counted.open("ab") as file:
                file.write(b"." * len(inputs))
            return super()._measure(inputs)

    rng = np.random.default_rng(5)
    journal = DiskJournal(folder)
    with Session(Counting(noise=0.1), journal=journal) as session:
        tunings = [session.device.spec.nearest_tuning(rng.uniform(-1, 1, 7)) for _ in range(9)]
        for _ in range(120):
            stimuli = rng.uniform(-1, 1, (int(rng.integers(1, 4)), 4))
            session.measure(
                stimuli, tuning=tunings[int(rng.integers(9))], purpose=str(rng.choice(["train", "repeat"]))
            )
        np.save(counted.with_name(f"{folder.name}.npy"), [*session.ledger.writes.values(), session.ledger.total])
    journal.close()
