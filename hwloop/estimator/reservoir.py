"""A physical system that is driven by a time series, with a ridge readout, and forecasts in closed loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from hwloop.checkpoint.echo_states import load_echo_state, save_echo_state
from hwloop.checkpoint.estimators import plain_options
from hwloop.device import Device
from hwloop.errors import CheckpointError, ConfigError, DatasetError, HwloopWarning
from hwloop.estimator.devices import DeviceEstimator, given_devices, put_back_after_an_error
from hwloop.estimator.options import is_whole, require_options, require_path
from hwloop.estimator.series import Series, as_series, as_targets, plain_values
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.registry import DEVICES, accepted_settings
from hwloop.session import Session
from hwloop.session.kept_fit import KeptFit, device_request, digest_of_rows
from hwloop.training.echo_state import EchoState
from hwloop.training.reservoir import DeviceMemory, FeedbackMemory, Reservoir

DEFAULT_OUTPUTS = 200
CHANNELS_A_FEEDBACK = 5  # feedback channels for each that the features take at least, on a device built to fit
SCALING = "range"  # what is fed back may leave the range of the series by a little
# Options that decide, with series, device and seed, which rows a fit asks for.
DECIDING = ("memory", "window", "feedback_channels", "spectral_radius", "input_gain", "device_settings")
FITTED = ("predicts_next_", "has_value_axis_", "many_")


class PhysicalReservoir(DeviceEstimator):
    """Drive a physical system with a time series, and predict a target at every step, or the series itself.

    Only a linear readout is trained, in closed form (:class:`hwloop.training.echo_state.EchoState`).

    One series has shape (steps,) or (steps, features), many of equal length (rows, steps, features). Every series
    begins at rest.

    Parameters
    ----------
    device
        A name of ``hwloop list`` or a TOML file (built to fit the series where the device can be), or a
        :class:`hwloop.Device`.
    memory
        ``"physical"``: the device remembers within a row, and answers with its nodes after every step of it; one
        row a window. ``"digital"``: its answer is fed back through a fixed random matrix into the next step; one
        row a step (:class:`hwloop.training.reservoir.DigitalRecurrence`).
    window
        With physical memory: steps of a row. By default a series is one row; a longer one is cut into windows that
        overlap by the washout, and series of any length from there on can be predicted.
    feedback_channels, spectral_radius, input_gain
        With digital memory: channels that the answer is fed back on, the loop's spectral radius at rest, and the
        share of the inputs' range that the series fills.
    ridge
        Strength of the readout's penalty, on standardised states. By default the one with the least leave-one-out
        error, which predicts a step best; a forecast may run away with it, and more ridge holds it.
    device_settings
        Settings of a device given by name.
    budget
        Rows that the device may measure, for fit and predictions together; ``None`` for no limit.
    random_state
        Seed of the matrix; with a device given by name, of the device too.
    verbose
        1 prints what fits and forecasts will cost, before the first row.
    journal
        Folder in which everything that is measured is kept; as of :class:`hwloop.PhysicalClassifier`.

    Attributes
    ----------
    model_ : EchoState
        The reservoir and its readout.
    n_features_in_ : int
        Features of a step.
    ledger_ : dict
        Rows measured by purpose: ``train``, ``evaluate``, and ``calibrate`` for the slopes of a digital loop.

    Examples
    --------
    >>> import numpy as np, hwloop
    >>> series = np.sin(0.3 * np.arange(400))
    >>> loop = {"n_nodes": 50, "input_scale": 0.1, "gain": 0.8}
    >>> quiet = {"read_noise": 0.0, "dac_bits": None, "adc_bits": None}
    >>> model = hwloop.PhysicalReservoir("delay-loop", window=40, device_settings=loop | quiet, random_state=0)
    >>> forecast = model.fit(series, washout=20).forecast(30)
    >>> bool(np.abs(forecast - np.sin(0.3 * np.arange(400, 430))).max() < 0.01)
    True
    """

    def __init__(
        self,
        device: str | Device = "delay-loop",
        *,
        memory: str = "physical",
        window: int | None = None,
        feedback_channels: int = 100,
        spectral_radius: float = 0.9,
        input_gain: float = 0.05,
        ridge: float | None = None,
        device_settings: Mapping[str, Any] | None = None,
        budget: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        journal: str | os.PathLike[str] | None = None,
    ) -> None:
        self.device = device
        self.memory = memory
        self.window = window
        self.feedback_channels = feedback_channels
        self.spectral_radius = spectral_radius
        self.input_gain = input_gain
        self.ridge = ridge
        self.device_settings = device_settings
        self.budget = budget
        self.random_state = random_state
        self.verbose = verbose
        self.journal = journal

    # -- fitting ---------------------------------------------------------------------------------------

    def fit(self, series: ArrayLike, targets: ArrayLike | None = None, *, washout: int = 0) -> Self:
        """Train on a series, or on many, and a target at every step.

        Parameters
        ----------
        targets
            Of as many steps: (steps,) or (steps, values) for one series, (rows, steps) or (rows, steps, values)
            for many. By default the series itself one step later, for :meth:`forecast`.
        washout
            Steps at the start of every series that are not trained on: the reservoir still knows how it began.

        Raises
        ------
        DatasetError
            Series or targets of another shape, or values that are none.
        ConfigError, BudgetExceeded
            Before anything is measured.
        DeviceError
            If the device fails; the message names the folder that keeps what was measured.
        """
        require_options(self.get_params(deep=False))
        washout = _as_washout(washout)
        rows, many = as_series(series, "series")
        flat = np.ndim(plain_values(series)) == 1
        aims, has_value_axis = (rows[:, 1:], not flat) if targets is None else as_targets(targets, rows, many)
        if washout >= aims.shape[1]:
            raise ConfigError(f"a washout of {washout} leaves none of {aims.shape[1]} steps to train on")
        if (before := self._fitted_model()) is not None:
            before.close_kept()  # nobody will ask it any more
        with put_back_after_an_error(self.random_state), self._seeded(rows, washout) as (seed, kept):
            model = EchoState(self._reservoir(rows, washout, seed), washout, self.journal, self.ridge)
            self._hold([model.reservoir.session])
            self._announce("fit", model.reservoir.session, model.rows_to_fit(rows))
            model.fit(rows, None if targets is None else aims, kept)
        self.model_, self.n_features_in_, self.many_ = model, rows.shape[2], many
        self.has_value_axis_ = has_value_axis
        self.predicts_next_ = aims.shape[2] == rows.shape[2] and np.array_equal(
            aims[:, : rows.shape[1] - 1], rows[:, 1:]
        )
        return self

    _seed_of_failed_fit: int | None = None  # one that goes on has the same device and the same matrix

    @contextmanager
    def _seeded(self, rows: Series, washout: int) -> Iterator[tuple[int, KeptFit | None]]:
        """The seed of a fit; and its folder, where that keeps the seed that nobody has given."""
        if self.random_state is not None:
            yield self._drawn(), None
        elif self.journal is None:
            if self._seed_of_failed_fit is None:
                self._seed_of_failed_fit = self._drawn()
            yield self._seed_of_failed_fit, None
            self._seed_of_failed_fit = None
        else:
            options: dict[str, Any] = self.get_params(deep=False)
            request = {
                "sequences": digest_of_rows(rows),
                "device": device_request(self.device),
                "washout": int(washout),
                "seed": None,
                **{name: options[name] for name in DECIDING},
            }
            with KeptFit(self.journal, "PhysicalReservoir.fit", str(self.device)[:100], request) as kept:
                yield kept.drawn_once("seed", self._drawn), kept

    def _reservoir(self, rows: Series, washout: int, seed: int) -> Reservoir:
        return RESERVOIRS[self.memory](self, rows, washout, seed)

    def _opened(self, n_features: int, defaults: Mapping[str, Any], reference_slots: int | None) -> Session:
        """A session on the device, which is built to fit where it is given by name."""
        if isinstance(self.device, Device):
            if self.device_settings:
                raise ConfigError("device_settings need a device given by name; set up a Device object yourself")
            return Session(self.device, budget=self.budget)
        if not isinstance(self.device, str):
            raise ConfigError("a reservoir is one device: give a name of hwloop list or a hwloop.Device, no list")
        settings = self.device_settings or {}
        return Session(
            open_fitting_device(self.device, settings, n_features, defaults, reference_slots), budget=self.budget
        )

    def _announce(self, what: str, session: Session, rows: int) -> None:
        """Say what it will cost, and refuse it here if the budget does not cover it."""
        session.require(rows)
        if self.verbose:
            print(f"{what}: {session.forecast(rows)}")

    def _fitted_model(self) -> EchoState | None:
        return getattr(self, "model_", None)

    def _fitted_sessions(self) -> list[Session]:
        model = self._fitted_model()
        return [] if model is None else [model.reservoir.session]

    # -- predicting ------------------------------------------------------------------------------------

    def predict(self, series: ArrayLike) -> Series:
        """The target at every step, in the shape that targets had in the fit; those of the washout too.

        They are measured unless remembered: one row a window, or one a step with digital memory.
        """
        check_is_fitted(self)
        rows, many = self._known_series(series)
        return self._as_given(self.model_.predict(rows), many)

    def forecast(self, steps: int, series: ArrayLike | None = None) -> Series:
        """Run free for ``steps`` steps: every prediction is fed back as the next input.

        The first value follows the last step of ``series``, by default of the series of the fit. It costs one row
        for every step after the first, with physical memory a whole window driven from rest, for a device cannot
        be stopped within a row; beside that the rows that bring it to the end of another ``series``: one window,
        or one row a step. :meth:`forecast_rows` says how many before the first; none is measured if the budget
        does not cover all. What was measured before a failure is remembered, and the same call goes on there.

        Returns
        -------
        (steps,), (steps, features), or (rows, steps, features), as the series was given.

        Raises
        ------
        ConfigError
            It was not trained to predict as many values as a step has features.
        """
        cost = self.forecast_rows(steps, series)
        rows, many = (None, self.many_) if series is None else self._known_series(series)
        if not self.predicts_next_:
            warnings.warn(
                "the targets of the fit were not the series one step later: what is fed back as the next step may "
                "be another quantity. Fit without targets to forecast the series itself",
                HwloopWarning,
                stacklevel=2,
            )
        self._announce("forecast", self.model_.reservoir.session, cost)
        return self._as_given(self.model_.forecast(steps, rows), many)

    def forecast_rows(self, steps: int, series: ArrayLike | None = None) -> int:
        """Device rows that :meth:`forecast` costs, at most: those that are remembered cost nothing."""
        check_is_fitted(self)
        if not is_whole(1)(steps):
            raise ConfigError(f"steps must be a whole number from 1, not {steps!r:.100}")
        return self.model_.rows_to_forecast(steps, None if series is None else self._known_series(series)[0])

    def score(self, series: ArrayLike, targets: ArrayLike, *, washout: int | None = None) -> float:
        """R2 of the predictions after the washout, by default that of the fit; mean over the values of a step.

        Raises
        ------
        ConfigError
            A washout that is no whole number of steps, or leaves none; before anything is measured.
        """
        check_is_fitted(self)
        skipped = self.model_.washout if washout is None else _as_washout(washout)
        rows, many = self._known_series(series)
        aims, _ = as_targets(targets, rows, many)
        if skipped >= aims.shape[1]:
            raise ConfigError(f"a washout of {skipped} leaves none of {aims.shape[1]} steps to score")
        found = self.model_.predict(rows)
        pair = (values[:, skipped:].reshape(-1, aims.shape[2]) for values in (aims, found))
        return float(r2_score(*pair))

    def _known_series(self, series: ArrayLike) -> tuple[Series, bool]:
        rows, many = as_series(series, "series")
        if rows.shape[2] != self.n_features_in_:
            raise DatasetError(
                f"the series has {rows.shape[2]} features a step, that of the fit {self.n_features_in_}"
            )
        return rows, many

    def _as_given(self, found: Series, many: bool) -> Series:
        found = found if self.has_value_axis_ else found[:, :, 0]
        return found if many else found[0]

    # -- on disk ---------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted reservoir: options, readout, where it stands, and which device it drives.

        Two files, ``path`` (it should end with ``.safetensors``) and the same name with ``.json``; nothing in them
        can execute code. Rows that were measured stay with ``journal``.

        Raises
        ------
        CheckpointError
            It cannot be written there, or an option is nothing that a file can hold.
        """
        require_path(path)
        check_is_fitted(self)
        fitted = {name: getattr(self, name) for name in FITTED}
        options = plain_options(self._options_of_file())
        save_echo_state(self.model_, Path(path), {"reservoir": {"options": options, "fitted": fitted}})

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], device: Device | None = None, device_changed: str = "refuse"
    ) -> Self:
        """The reservoir that :meth:`save` wrote; without noise, it predicts the same to the last bit.

        Its budget counts from here on.

        Parameters
        ----------
        device
            By default it is built as the file says, where it was given by a name of ``hwloop list``.
        device_changed
            As in :func:`hwloop.load_network`, which compares the device.

        Raises
        ------
        CheckpointError
            The files are absent or damaged, hold something else, or the device is another one.
        """
        require_path(path)
        session = None if device is None else Session(given_devices(device, 1)[0])
        echo_state, details = load_echo_state(Path(path), session, device_changed)
        try:
            saved = details["reservoir"]
            model = cls(**saved["options"])
            for name in FITTED:
                setattr(model, name, bool(saved["fitted"][name]))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"the reservoir in {path} is not understood ({type(error).__name__}: {error}); was it saved by "
                "another version of hwloop?"
            ) from error
        if model.budget is not None:  # known only now
            echo_state.reservoir.session = Session(echo_state.reservoir.session.device, budget=model.budget)
        model.model_, model.n_features_in_ = echo_state, echo_state.n_features
        if device is not None or model.device is None:
            model.device = echo_state.reservoir.session.device
        return model


def _as_washout(washout: Any) -> int:
    if not is_whole(0)(washout):
        raise ConfigError(f"washout must be a whole number of steps from 0, not {washout!r:.100}")
    return int(washout)


def _physical(model: PhysicalReservoir, rows: Series, washout: int, seed: int) -> Reservoir:
    """A device that remembers within a row of one window."""
    window = model.window or rows.shape[1]
    if rows.shape[1] < window:
        raise ConfigError(
            f"series of {rows.shape[1]} steps are shorter than the window of {window}"
            + ("" if window == model.window else "; give a shorter window")
        )
    if washout >= window:
        raise ConfigError(
            f"a window of {window} steps, each of which begins at rest, is all washout ({washout}); give a longer "
            "window or a shorter washout"
        )
    if isinstance(model.device, str) and not model.device.endswith(".toml"):
        takes = accepted_settings(DEVICES.load(model.device))
        if takes is not None and "sequence_length" not in takes:
            raise ConfigError(
                f'{model.device} keeps no memory within a row; memory="digital" gives it one, at a row a step'
            )
    defaults = {"sequence_length": window, "readout": "all", "seed": seed}
    session = model._opened(window * rows.shape[2], defaults, reference_slots=0)
    return Reservoir(session, DeviceMemory(model.window, washout if model.window else 0), SCALING)


def _digital(model: PhysicalReservoir, rows: Series, washout: int, seed: int) -> Reservoir:
    """A device whose answer is fed back digitally."""
    if model.window is not None:
        raise ConfigError('a window is of physical memory; with memory="digital" a row is one step: leave it out')
    features = max(rows.shape[2], -(-model.feedback_channels // CHANNELS_A_FEEDBACK))
    session = model._opened(
        model.feedback_channels + features, {"n_outputs": DEFAULT_OUTPUTS, "seed": seed}, reference_slots=None
    )
    memory = FeedbackMemory(
        feedback_channels=int(model.feedback_channels),
        spectral_radius=float(model.spectral_radius),
        input_gain=float(model.input_gain),
        seed=seed,
    )
    memory.attach(session.device.spec)
    return Reservoir(session, memory, SCALING)


RESERVOIRS: dict[str, Callable[[PhysicalReservoir, Series, int, int], Reservoir]] = {
    "physical": _physical,
    "digital": _digital,
}
