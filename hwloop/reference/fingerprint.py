"""Reference stimuli: how they are chosen and when they are measured, and the fingerprint of the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.errors import CheckpointError, ConfigError
from hwloop.reference.drift import Change, Noise, Responses, change
from hwloop.registry import nearest

ON_DRIFT = ("warn", "pause", "restandardise")


@dataclass(frozen=True)
class Reference:
    """The fixed stimuli that a session measures again and again, to see whether its device moves.

    They are measured ``passes`` times before the session's first row, which gives the reference and its noise,
    then once before the next row whenever ``every_rows`` other rows were measured since, and once at the end of
    a run. A change beyond ``limit`` is confirmed by ``passes`` more before anything follows from it. All of
    these rows have the purpose ``reference``. Only row counts decide when: a run that is executed again asks
    for the same rows in the same order.

    Attributes
    ----------
    every_rows
        Rows measured for other purposes between two measurements; 0 for the start and the end only.
    stimuli
        How many, at least 4: fewer tell too little of gain and noise.
    limit
        Change of the responses, in units of their spread over the stimuli (:class:`hwloop.reference.Change`),
        beyond which ``on_drift`` says what follows.
    on_drift
        ``"warn"``: go on with a warning. ``"pause"``: stop with :class:`hwloop.errors.DeviceDrifted`; everything
        is kept, and before the next row the reference is measured again. ``"restandardise"``: forget what was
        measured before, and correct gain and offset of every output from here on.
    passes
        Measurements of each stimulus at the start, at least 4: fewer cannot tell noise that all outputs share
        from noise of each.
    seed
        Draws the stimuli.

    Raises
    ------
    ConfigError
        A setting that is not allowed.
    """

    every_rows: int = 1000
    stimuli: int = 8
    limit: float = 0.1
    on_drift: str = "warn"
    passes: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("every_rows", 0), ("stimuli", 4), ("passes", 4), ("seed", 0)):
            _check_whole(name, getattr(self, name), least)
        if self.on_drift not in ON_DRIFT:
            raise ConfigError(f"reference: unknown on_drift {self.on_drift!r}: {nearest(self.on_drift, ON_DRIFT)}")
        real = isinstance(self.limit, int | float) and not isinstance(self.limit, bool)
        if not (real and 0 < self.limit < np.inf):
            raise ConfigError(f"reference: limit must be a number above 0, not {self.limit!r}")

    @property
    def period_rows(self) -> float:
        """Rows of other purposes between two measurements; infinite if there are none in between."""
        return self.every_rows or float("inf")

    def rows_of_run(self, rows: int, n_devices: int) -> int:
        """Reference rows, start and end included, of a run that measures so many others on so many devices."""
        between = (rows - 1) // self.every_rows if self.every_rows and rows else 0
        return (n_devices * (self.passes + 1) + between) * self.stimuli


def reference_stimuli(spec: DeviceSpec, stimuli: int, seed: int) -> Float64Array:
    """Seeded stimuli that fill a device's range evenly, shape (stimuli, n_inputs): a Latin hypercube.

    Each channel takes the centres of so many equal parts of its range, in an order of its own (McKay, Beckman
    and Conover, Technometrics 21, 239, 1979): few rows drive every channel low, high and in between.
    """
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(stimuli), (spec.n_inputs, 1)), axis=1).T
    share = (order + 0.5) / stimuli
    return np.asarray(np.clip(spec.low + share * (spec.high - spec.low), spec.low, spec.high))


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"reference: {name} must be a whole number of at least {least}, not {value!r}")


MAX_STIMULI = 100_000


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Reference responses with the identity of the device that gave them.

    Attributes
    ----------
    identity
        What the device said of itself.
    seed
        Of the stimuli, which follow from it and the device's limits.
    stimuli_hash
        SHA-256 of the stimuli: are they still the same?
    responses
        As the session returned them when the reference was last measured.
    noise
        Of a single pass.
    """

    identity: str
    seed: int
    stimuli_hash: str
    responses: Responses
    noise: Noise

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text for JSON; :meth:`from_dict` gives the same numbers to the last bit."""
        return {
            "identity": self.identity,
            "seed": self.seed,
            "stimuli_hash": self.stimuli_hash,
            "responses": self.responses.mean.tolist(),
            "passes": self.responses.passes,
            "noise": asdict(self.noise),
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Fingerprint:
        """The fingerprint that :meth:`as_dict` described.

        Raises
        ------
        CheckpointError
            It does not hold one.
        """
        try:
            passes, noise = _whole(stored["passes"], least=1), _noise(stored["noise"])
            responses = Responses(_table(stored["responses"]), passes)
            identity, stimuli_hash = _text(stored["identity"]), _text(stored["stimuli_hash"])
            return cls(identity, _whole(stored["seed"], least=0), stimuli_hash, responses, noise)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(
                f"a stored fingerprint cannot be read ({type(error).__name__}: {error}); load the network with "
                "compare_device=False"
            ) from error

    def stimuli(self, spec: DeviceSpec) -> Float64Array | None:
        """The stimuli on a device, shape (stimuli, n_inputs); ``None`` if its limits make others of them."""
        stimuli = reference_stimuli(spec, len(self.responses.mean), self.seed)
        return stimuli if stimuli_hash(stimuli) == self.stimuli_hash else None

    def change_to(self, responses: Float64Array) -> Change:
        """How far responses to the same stimuli, shape (stimuli, n_outputs), measured once, lie from these."""
        return change(self.responses, Responses(responses, 1), self.noise)


def stimuli_hash(stimuli: Float64Array) -> str:
    """SHA-256 of stimuli, whatever machine they were made on."""
    return hashlib.sha256(np.ascontiguousarray(stimuli, dtype="<f8").tobytes()).hexdigest()


def change_since_training(fingerprint: Fingerprint, found: Change, identity: str) -> str:
    """What a change of a device that was known by its fingerprint means for a network trained on it."""
    then = fingerprint.identity
    who = "" if identity == then else f". It said of itself {then!r} then, and says {identity!r} now"
    return (
        f"the device answers {len(fingerprint.responses.mean)} reference stimuli otherwise than when this network "
        f"was saved: by {100 * found.drift:.3g} % of the responses' spread over the stimuli, where noise explains "
        f"at most {100 * found.noise_floor:.2g} %. The common gain is {found.gain:.3f} times what it was, and "
        f"{100 * found.decorrelation:.2g} % of the correlation is lost, which no gain or offset brings back. "
        f"Expect another accuracy than the network had: measure it on test rows, or train again{who}"
    )


def _table(value: Any) -> Float64Array:
    array = np.asarray(value)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "iuf":
        raise ValueError(f"responses that are no table of numbers but {array.dtype} of shape {array.shape}")
    if not 2 <= len(array) <= MAX_STIMULI or not np.isfinite(array).all():
        raise ValueError(f"responses to {len(array)} stimuli, or some that are not finite")
    return array.astype(np.float64)


def _noise(stored: Mapping[str, Any]) -> Noise:
    power, freedom = float(stored["power"]), float(stored["freedom"])
    if not (0 <= power < np.inf and 1 <= freedom < np.inf):
        raise ValueError(f"a noise of power {power} in {freedom} values")
    return Noise(power, freedom, _whole(stored["passes"], least=3))


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value < 2**63:
        raise ValueError(f"{value!r} in place of a whole number of at least {least}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} in place of text")
    return value
