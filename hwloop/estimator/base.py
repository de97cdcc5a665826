"""What classifier and regressor share: options, the fit that is kept, saving and loading."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from hwloop.checkpoint import load_network, read_description, save_network
from hwloop.checkpoint.devices import built_sessions, require_known_entries
from hwloop.checkpoint.estimators import SavedEstimator
from hwloop.device import Device
from hwloop.errors import CheckpointError, ConfigError
from hwloop.estimator.devices import DeviceEstimator, given_devices, put_back_after_an_error
from hwloop.estimator.options import require_options, require_path
from hwloop.estimator.rows import FitRows
from hwloop.input_scaling import (
    DEFAULT_INPUT_SCALING,
    INPUT_SCALINGS,
    ONE_SCALE,
    SCALE_A_COLUMN,
    InputScaling,
    decided,
)
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.fitting_device import open_fitting_device
from hwloop.layers.rowwise import plain_array
from hwloop.registry import TRAINERS, accepted_settings
from hwloop.session import Session
from hwloop.session.kept_fit import KeptFit, device_request, digest_of_rows
from hwloop.tasks import LearningTask
from hwloop.training import History, Trainer
from hwloop.training import trainer as make_trainer

DEFAULT_OUTPUTS = 200
Documented = TypeVar("Documented", bound="PhysicalEstimator")


class PhysicalEstimator(DeviceEstimator):
    """A network of physical stages behind scikit-learn's interface.

    Parameters
    ----------
    device
        A name of ``hwloop list`` or a TOML file (built to fit the data where the device can be), a
        :class:`hwloop.Device`, or a list of one a stage.
    stages, width
        Physical stages, and outputs of the digital map after each.
    activation
        ``None`` for a linear interface, where every nonlinearity is physical; ``"relu"``.
    input_scaling
        Of the columns that drive the first device: ``"global"``, one scale for all; ``"channel"``, one for each;
        ``"auto"`` chooses from the training rows (:mod:`hwloop.input_scaling`).
    trainer, trainer_settings
        A trainer of ``hwloop list`` and its options.
    device_settings
        Settings of a device given by name.
    budget
        Rows that each device may measure, for fit and predictions together; ``None`` for no limit.
    random_state
        Seed of every random choice; with a device given by name, of the device too.
    verbose
        1 prints the forecast and every trained stage.
    journal
        Folder in which everything that is measured is kept, predictions too. A fit on the same data, with the same
        options and on the same device goes on from what it finds there, to the last bit as if it had never been
        stopped; a finished one measures nothing (for new measurements give another folder). By default a
        temporary folder, which an error names and from which the next fit goes on; it is removed after a success.
    """

    _saved_as: ClassVar[type[SavedEstimator]]
    _kept: KeptFit | None = None  # of a fit with a journal of its own

    def __init__(
        self,
        device: str | Device | Sequence[str | Device] = "optical-fibre",
        *,
        stages: int = 2,
        width: int = 100,
        activation: str | None = None,
        trainer: str = "local",
        trainer_settings: Mapping[str, Any] | None = None,
        device_settings: Mapping[str, Any] | None = None,
        budget: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        journal: str | os.PathLike[str] | None = None,
        input_scaling: str = DEFAULT_INPUT_SCALING,
    ) -> None:
        self.device = device
        self.stages = stages
        self.width = width
        self.activation = activation
        self.trainer = trainer
        self.trainer_settings = trainer_settings
        self.device_settings = device_settings
        self.budget = budget
        self.random_state = random_state
        self.verbose = verbose
        self.journal = journal
        self.input_scaling = input_scaling

    # -- fitting ---------------------------------------------------------------------------------------

    def _fit(
        self,
        inputs: NDArray[np.float64],
        targets: NDArray[Any],
        weights: NDArray[np.float64],
        task: LearningTask,
    ) -> PhysicalNetwork:
        """Train a network; nothing of this estimator changes if it fails."""
        require_options(self.get_params(deep=False))
        rows = self._counted(inputs, targets, weights, task)
        if self._kept is not None:
            self._kept.close()  # the fit before this one: nobody will ask its network any more
        if self.input_scaling not in INPUT_SCALINGS:
            raise ConfigError(
                f"input_scaling must be one of {', '.join(INPUT_SCALINGS)}, not {self.input_scaling!r}"
            )
        scaling = decided(self.input_scaling, rows.inputs)
        with put_back_after_an_error(self.random_state):
            drawn = None if self.random_state is None else self._drawn()
            request = {
                "rows": digest_of_rows(rows.inputs),
                "labels": digest_of_rows(rows.targets),
                # Journals of fits without weights say nothing of them.
                **({} if rows.weights is None else {"weights": digest_of_rows(rows.weights)}),
                "seed": drawn,
                **self._options(scaling.name),
            }
            with KeptFit(self.journal, f"{type(self).__name__}.fit", str(self.device)[:100], request) as kept:
                seed = kept.drawn_once("seed", self._drawn) if drawn is None else drawn
                history, network = self._trained(rows, task, seed, kept, scaling)
        self.history_, self.network_ = history, network
        self.input_scaling_ = scaling.name
        self._kept = None if kept.temporary else kept
        return network

    def _options(self, scaling: str) -> dict[str, Any]:
        """What decides, with data and seed, which rows a fit asks for."""
        devices = [self.device] if isinstance(self.device, str | Device) else list(self.device)
        return {
            "device": [device_request(device) for device in devices],
            # A scale a column is what journals mean that do not say: it was the only one.
            "network": [
                self.stages,
                self.width,
                self.activation,
                *([] if scaling == SCALE_A_COLUMN else [scaling]),
            ],
            "trainer": [self.trainer, dict(self.trainer_settings or {})],
            "device_settings": dict(self.device_settings or {}),
        }

    def _counted(
        self,
        inputs: NDArray[np.float64],
        targets: NDArray[Any],
        weights: NDArray[np.float64],
        task: LearningTask,
    ) -> FitRows:
        """The rows, and what each counts where the trainer takes weights.

        Raises
        ------
        ConfigError
            The trainer cannot learn the task, or takes no weights, and they are not all the same.
        """
        method = self._method(0)
        method.require_serves(task)
        rows = FitRows.of(inputs, targets, weights, together=not method.reason_against_weights)
        if rows.weights is None or not method.reason_against_weights:
            return rows
        if bool((rows.weights != rows.weights[0]).any()):
            method.require_weights(f"the trainer {self.trainer!r}")
        return replace(rows, weights=None)

    def _method(self, seed: int) -> Trainer:
        settings = dict(self.trainer_settings or {})
        if "seed" in (accepted_settings(TRAINERS.load(self.trainer)) or ("seed",)):
            settings.setdefault("seed", seed)
        return make_trainer(self.trainer, **settings)

    def _trained(
        self, rows: FitRows, task: LearningTask, seed: int, kept: KeptFit, scaling: InputScaling
    ) -> tuple[History, PhysicalNetwork]:
        method = self._method(seed)
        planned = method.plan.n_features(rows.inputs.shape[1], task.n_outputs)
        sessions = self._sessions(planned, seed)
        scalings = [ONE_SCALE if number else scaling.name for number in range(self.stages)]  # maps' outputs share
        stages = [Stage(self.width, self.activation, scaling=each) for each in scalings]
        network = PhysicalNetwork(sessions, stages, seed=seed)
        kept.record(network.distinct_sessions)
        if self.verbose:
            cost = method.cost(len(rows.inputs), task.n_outputs, self.stages)
            print(f"fit: {sessions[0].forecast(cost)}")
            if scaling.reason:
                print(f"input scaling: {scaling.text}")
            for number, stage in enumerate(stages):
                encoded = planned if number == 0 else self.width
                if note := stage.projection_note(sessions[number].device.spec, encoded):
                    print(f"stage {number + 1}: {note}")
        callbacks = [print] if self.verbose > 1 else []
        self._hold(network.distinct_sessions)
        options: dict[str, Any] = task.fit_options()
        if rows.weights is not None:
            options["sample_weight"] = rows.weights
        return method.fit(network, rows.inputs, rows.targets, callbacks=callbacks, **options), network

    # -- devices ---------------------------------------------------------------------------------------

    def _sessions(self, n_features: int, seed: int) -> list[Session]:
        """One session a stage; stages that share a device share its session."""
        if isinstance(self.device, str | Device):
            session = self._session(self.device, n_features, seed)
            return [session] * self.stages
        devices = list(self.device)
        if len(devices) != self.stages:
            raise ConfigError(f"{len(devices)} devices for {self.stages} stages; give one, or one a stage")
        sessions: dict[int, Session] = {}
        return [
            sessions.setdefault(id(device), self._session(device, n_features, seed + number))
            if isinstance(device, Device)
            else self._session(device, n_features, seed + number)
            for number, device in enumerate(devices)
        ]

    def _session(self, device: str | Device, n_features: int, seed: int) -> Session:
        if isinstance(device, str):
            defaults = {"n_outputs": DEFAULT_OUTPUTS, "seed": seed}
            widest = max(n_features, self.width)
            device = open_fitting_device(device, self.device_settings or {}, widest, defaults)
        elif self.device_settings:
            raise ConfigError("device_settings need a device given by name; set up a Device object yourself")
        return Session(device, budget=self.budget)

    def _fitted_sessions(self) -> list[Session]:
        return self.network_.distinct_sessions if hasattr(self, "network_") else []

    # -- predicting ------------------------------------------------------------------------------------

    def _rows_to_predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Rows (rows, features) such as those of the fit."""
        check_is_fitted(self, "network_")
        rows: NDArray[np.float64] = validate_data(self, unmasked(X), dtype=np.float64, reset=False)
        return rows

    # -- on disk ---------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator: options, targets, scaling, weights, and which device it was trained on.

        Two files, ``path`` (it should end with ``.safetensors``) and the same name with ``.json``; nothing in them
        can execute code. ``hwloop predict`` reads them too. Rows that were measured stay with ``journal``.

        Raises
        ------
        CheckpointError
            It cannot be written there, a weight is NaN or infinite, or an option is nothing that a file can hold.
        """
        require_path(path)
        check_is_fitted(self)
        options = self._options_of_file()
        names = getattr(self, "feature_names_in_", None)
        saved = self._to_be_saved(options, None if names is None else tuple(map(str, names)))
        save_network(self.network_, Path(path), saved.details())

    @abstractmethod
    def _to_be_saved(self, options: dict[str, Any], names: tuple[str, ...] | None) -> SavedEstimator:
        """What a file keeps beside the network."""

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        device: Device | Sequence[Device] | None = None,
        device_changed: str = "refuse",
    ) -> Self:
        """The estimator that :meth:`save` wrote, ready to predict; without noise, the same to the last bit.

        Its budget counts from here on.

        Parameters
        ----------
        device
            The device, or a list of one a stage. By default it is built as the file says, where it was given by a
            name of ``hwloop list``.
        device_changed
            As in :func:`hwloop.load_network`, which compares the device.

        Raises
        ------
        CheckpointError
            The files are absent or damaged, or the device is another one (the message says in what), or it cannot
            be built from the file.
        """
        require_path(path)
        described = read_description(Path(path))
        saved = cls._saved_as.read(described, path)
        try:
            model = cls(**{"input_scaling": SCALE_A_COLUMN, **saved.options})  # older files know nothing else
        except TypeError as error:
            raise CheckpointError(
                f"the {saved.entry} in {path} has an option that is not known ({error})"
            ) from error
        require_known_entries(described, path)
        if device is None:
            sessions = built_sessions(described, model.budget)
        else:
            every = given_devices(device, len(described["stages"]))
            by_device = {id(each): Session(each, budget=model.budget) for each in every}
            sessions = [by_device[id(each)] for each in every]
        model.network_ = load_network(Path(path), sessions, device_changed=device_changed)
        model.n_features_in_ = model.network_.n_columns
        if saved.feature_names is not None:
            model.feature_names_in_ = np.array(saved.feature_names, dtype=object)
        model.input_scaling_ = described["stages"][0]["scaling"]
        model._take_up(saved, path)
        if device is not None:
            model.device = device
        elif saved.options["device"] is None:
            model.device = [session.device for session in sessions]
        return model

    def _take_up(self, saved: Any, path: object) -> None:
        """Set what :meth:`_to_be_saved` kept, once the network is there.

        Raises
        ------
        CheckpointError
            It does not belong to the network.
        """


def documented(cls: type[Documented]) -> type[Documented]:
    """Put the shared parameters in the place of ``{options}`` in the docstring of a class: they are said once."""
    if cls.__doc__ and PhysicalEstimator.__doc__:  # python -OO has none
        _, _, shared = PhysicalEstimator.__doc__.partition("----------\n")
        cls.__doc__ = cls.__doc__.replace("{options}", shared.strip())
    return cls


def unmasked(values: ArrayLike) -> ArrayLike:
    """The same values; scikit-learn would take what lies under a mask for measured, so a mask is refused."""
    if isinstance(values, np.ma.MaskedArray):
        plain_array(values, "data")
    return values
