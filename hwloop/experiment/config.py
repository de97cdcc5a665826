"""What an experiment is: its file read, changed by settings, and validated; a mistake is one clear line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from hwloop.errors import ConfigError
from hwloop.experiment.events import require_tensorboard
from hwloop.experiment.headline import derived
from hwloop.experiment.parts import DatasetPart, DevicePart, Part, Table
from hwloop.input_scaling import DEFAULT_INPUT_SCALING, ONE_SCALE
from hwloop.registry import (
    DATASETS,
    DEVICES,
    TRAINERS,
    Registry,
    find_modules_in,
    folders_of_modules,
    nearest,
    paths_beside,
    read_toml,
)
from hwloop.runs.layout import CONFIG, METRICS
from hwloop.runs.notes import check_note, check_tag
from hwloop.toml_text import parse_setting, with_overrides

if TYPE_CHECKING:
    from hwloop.reference import Reference

MAX_SEEDS = 1_000
MAX_STAGES = 100
MAX_WIDTH = 1_000_000
WEIGHTS = r"^(float|binary|ternary|dorefa:([1-9]|1[0-6]))$"  # what hwloop.layers.interface knows, without torch
Fraction = Annotated[float, Field(ge=0, lt=1)]


class NetworkConfig(Table):
    """Stages of the network; all are alike.

    ``activation`` follows the digital map of every stage but a readout: ``"none"`` is the linear interface,
    where every nonlinearity is physical, ``"relu"`` the relu interface. ``input_scaling`` is the first stage's:
    ``"global"`` is one scale for all features, ``"channel"`` one for each (features of different units),
    ``"auto"`` chooses from the training rows (:mod:`hwloop.input_scaling`) and says what. ``weights`` is the
    precision of the digital maps: ``float``, ``binary``, ``ternary`` or ``dorefa:<bits>``. With
    ``controls`` constants are held on inputs of their own, in the device's unit, such as a weak reference. With
    ``sequence_steps`` above 1 a row of the dataset is a sequence of so many steps, which the first stage's device
    takes in order, in one row.
    """

    stages: Annotated[int, Field(ge=1, le=MAX_STAGES)] = 2
    width: Annotated[int, Field(ge=1, le=MAX_WIDTH)] = 100
    activation: Literal["none", "relu"] = "none"
    bypass: bool = False
    reference_slots: Annotated[int, Field(ge=0)] | None = None
    controls: list[float] = []
    input_scaling: Literal["auto", "global", "channel"] = DEFAULT_INPUT_SCALING
    weights: Annotated[str, Field(pattern=WEIGHTS)] = "float"
    sequence_steps: Annotated[int, Field(ge=1, le=MAX_WIDTH)] = 1


class SplitConfig(Table):
    """Fractions of the dataset's rows; the rest is what the network trains on."""

    test: Fraction = 0.25
    validation: Fraction = 0.0

    @model_validator(mode="after")
    def _something_left(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError(f"test and validation together take {self.test + self.validation:g} of all rows")
        return self


class EvidenceConfig(Table):
    """What a run measures and computes beside its own accuracy.

    ``floors`` turns all that the network is compared with on or off. ``response_rows`` rows sweep the device for
    the report's response plot, once a run (purpose ``calibrate``); 0 for none.
    """

    floors: bool = True
    response_rows: Annotated[int, Field(ge=0, le=10_000)] = 0


class JournalConfig(Table):
    """How a run is recorded: at most ``sync_seconds`` may pass before a row survives a loss of power."""

    sync_seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0


class ReferenceConfig(Table):
    """Reference stimuli that show whether a device moves; see :class:`hwloop.reference.Reference`.

    A file without this table measures none.
    """

    every_rows: Annotated[int, Field(ge=0)] = 1000
    stimuli: Annotated[int, Field(ge=4, le=10_000)] = 8
    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    on_drift: Literal["warn", "pause", "restandardise"] = "warn"
    passes: Annotated[int, Field(ge=4, le=1000)] = 4
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def settings(self) -> Reference:
        """The same for a session."""
        from hwloop.reference import Reference

        return Reference(**self.model_dump())


class ReuseConfig(Table):
    """Earlier runs whose rows need not be measured again on the same device under the same settings.

    ``runs`` are their folders. A row older than ``max_age_seconds`` when the run begins is measured again.
    """

    runs: list[Annotated[str, Field(min_length=1)]] = []
    max_age_seconds: Annotated[float, Field(gt=0)] | None = None


class RunConfig(Table):
    """What a run leaves beside its own files: curves for TensorBoard, which is an extra.

    ``module_folders`` is where the user's own modules lie that the experiment names; a run fills it in, so that it
    goes on from whatever folder it is resumed.
    """

    tensorboard: bool = False
    module_folders: list[str] | None = None


class AboutConfig(Table):
    """What is said of a run, and changes nothing in it.

    ``operator`` is who runs it: by default the variable ``HWLOOP_OPERATOR``, or user@host; empty for nobody.
    """

    notes: list[Annotated[str, AfterValidator(check_note)]] = []
    tags: list[Annotated[str, AfterValidator(check_tag)]] = []
    operator: Annotated[str, Field(max_length=200)] | None = None


class DerivedFrom(Table):
    """What a configuration was made of: an experiment, and the entries of it that were changed."""

    experiment: str
    changes: list[str]


class MeasuredWith(Table):
    """With which device a run measured a seed, as :meth:`hwloop.device.DeviceDescription.as_dict` gives it.

    A run writes these tables into its own ``run.toml``; who runs that file again measures with the same devices.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Annotated[int, Field(ge=0, le=MAX_STAGES)]
    description: dict[str, JsonValue]


class ExperimentConfig(Table):
    """An experiment: what is trained, on what, with which device, and how often.

    ``device`` is one for all stages or a list of one a stage. ``seeds`` is a number n (seeds 0 to n - 1) or
    the seeds themselves. ``budget`` is the number of rows that the whole run, all seeds together, may measure,
    ``write_budget`` that of writes of the devices' tunables.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    description: str = ""
    dataset: DatasetPart
    device: list[DevicePart]
    trainer: Part
    network: NetworkConfig = NetworkConfig()
    split: SplitConfig = SplitConfig()
    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = [0]
    budget: Annotated[int, Field(ge=1)] | None = None
    write_budget: Annotated[int, Field(ge=1)] | None = None
    evidence: EvidenceConfig = EvidenceConfig()
    journal: JournalConfig = JournalConfig()
    reference: ReferenceConfig | None = None
    run: RunConfig = RunConfig()
    reuse: ReuseConfig = ReuseConfig()
    about: AboutConfig = AboutConfig()
    derived_from: DerivedFrom | None = None
    measured_with: list[MeasuredWith] = []

    @field_validator("device", mode="before")
    @classmethod
    def _one_device(cls, given: Any) -> Any:
        return given if isinstance(given, list) else [given]

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted_seeds(cls, given: Any) -> Any:
        if isinstance(given, bool) or not isinstance(given, int):
            return given
        if not 1 <= given <= MAX_SEEDS:
            raise ValueError(f"the number of seeds must be 1 to {MAX_SEEDS}, not {given}")
        return list(range(given))

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        if not seeds or len(set(seeds)) != len(seeds) or len(seeds) > MAX_SEEDS:
            raise ValueError(f"must be 1 to {MAX_SEEDS} different seeds")
        return seeds

    @model_validator(mode="after")
    def _device_for_every_stage(self) -> Self:
        if len(self.device) not in (1, self.network.stages):
            raise ValueError(
                f"{len(self.device)} devices for {self.network.stages} stages: give one, or one a stage"
            )
        return self

    def as_table(self) -> dict[str, Any]:
        """The configuration as an experiment file would hold it, every default written out.

        What is said of a run, and what an earlier one was measured with, is no part of it.
        """
        table = self.model_dump(exclude_none=True, exclude={"about", "derived_from", "measured_with"})
        if len(self.device) == 1:
            table["device"] = table["device"][0]
        return table

    def said_table(self) -> dict[str, Any]:
        """What is said of the run, as ``run.toml`` holds it; empty entries are left out."""
        about = {key: value for key, value in self.about.model_dump(exclude_none=True).items() if value != []}
        made = None if self.derived_from is None else self.derived_from.model_dump()
        return ({"about": about} if about else {}) | ({"derived_from": made} if made else {})


OF_DEVICES = ("device", "network", "dataset")
SHOWN_ERRORS = 3
SHOWN_CHARACTERS = 60


def load_experiment(path: str | Path, settings: Iterable[str] = ()) -> ExperimentConfig:
    """Read an experiment file, apply ``key=value`` settings, validate.

    Parameters
    ----------
    path
        A TOML file. Paths in it, of a device's TOML file or among a device's settings, may be relative to it; they
        become absolute, so that a run goes on from whatever folder it is resumed.
    settings
        As :func:`hwloop.toml_text.with_overrides` takes them. Of a run's own file, those that change
        the devices, or what they must fit, drop what it was measured with. Name and description follow from what
        is asked for, see :func:`hwloop.experiment.headline.derived`.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown (the nearest is named) or a value is unusable.
    """
    path = Path(path)
    table = read_toml(path)
    table.setdefault("name", path.stem)
    if path.name == CONFIG and (path.parent / METRICS).exists() and isinstance(table.get("network", {}), dict):
        # A run of a version that knew one scaling, and did not say so.
        table["network"] = {"input_scaling": ONE_SCALE, **table.get("network", {})}
    _find_files(table, path.parent)
    settings = list(settings)
    changed = derived(table, with_overrides(table, settings), settings)
    asked = {parse_setting(setting)[0][0] for setting in settings}
    if not asked.isdisjoint(OF_DEVICES):
        changed.pop("measured_with", None)  # another device is asked for
    if "dataset" in asked and isinstance(changed.get("dataset"), dict):
        changed["dataset"].pop("data_sha256", None)  # and other data
    _find_files(changed, Path())
    _note_module_folders(changed)
    return validated(changed, str(path), settings)


def validated(table: Mapping[str, Any], where: str, settings: Sequence[str] = ()) -> ExperimentConfig:
    """The configuration that a table holds; ``where`` starts the message of the :class:`ConfigError`.

    Of ``settings`` that are in the table already, the message names those of the entries that are wrong.
    """
    try:
        config = ExperimentConfig.model_validate(dict(table))
        for folder in config.run.module_folders or ():
            find_modules_in(Path(folder))
        return config
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [_explain(problem, table) for problem in problems]
        wrong = {str(problem["loc"][0]) for problem in problems[:SHOWN_ERRORS] if problem["loc"]}
        blamed = [setting for setting in settings if parse_setting(setting)[0][0] in wrong]
        # What is wrong with the whole names no entry: any of the settings may be at fault.
        blamed = blamed or list(settings)
        where = f"{where} with {', '.join(blamed)}" if blamed else where
        more = f" (and {len(lines) - SHOWN_ERRORS} more)" if len(lines) > SHOWN_ERRORS else ""
        raise ConfigError(f"{where}: {'; '.join(lines[:SHOWN_ERRORS])}{more}") from error


def _note_module_folders(table: dict[str, Any]) -> None:
    """Write into ``[run]`` where the modules lie that are named, if nobody has said so before."""
    find_modules_in(Path())
    devices = table.get("device")
    parts = [table.get("dataset"), table.get("trainer"), *(devices if isinstance(devices, list) else [devices])]
    names = [part.get("name") if isinstance(part, dict) else part for part in parts]
    folders = folders_of_modules(name for name in names if isinstance(name, str))
    run = table.setdefault("run", {}) if folders else {}
    if folders and isinstance(run, dict):
        run.setdefault("module_folders", folders)


def check_names(config: ExperimentConfig) -> None:
    """Refuse an unknown dataset, device or trainer before anything heavy is imported.

    Raises
    ------
    ConfigError
        The name is unknown; the nearest is named. ``package.module:Name`` and device files are looked at later.
    """
    named: list[tuple[Registry, str]] = [(TRAINERS, config.trainer.name)]
    if config.dataset.name is not None:
        named.append((DATASETS, config.dataset.name))
    for file in (config.dataset.file, config.dataset.test_file):
        if file is not None and not Path(file).exists():
            raise ConfigError(
                f"the data file {file} does not exist; check the name, and the folder that it lies in"
            )
    named += [(DEVICES, part.name) for part in config.device if not part.name.endswith(".toml")]
    if config.run.tensorboard:
        require_tensorboard()
    for registry, name in named:
        if ":" not in name and name not in registry.entries():
            raise ConfigError(f"unknown {registry.kind} {name!r}: {nearest(name, registry.entries())}")


def _find_files(table: dict[str, Any], folder: Path) -> None:
    """Make paths of data and device files, and those in devices' settings, absolute.

    Those of devices where what they name is in the folder.
    """
    data = table.get("dataset")
    if isinstance(data, dict):
        for key in ("file", "test_file"):
            if isinstance(data.get(key), str) and data[key]:
                data[key] = os.path.abspath(folder / Path(data[key]).expanduser())

    def found(part: Any) -> Any:
        if isinstance(part, dict) and "name" in part:
            return part | {"name": found(part["name"])} | settings_of(part)
        if isinstance(part, str) and part.endswith(".toml") and (folder / part).is_file():
            return str((folder / part).absolute())
        return part

    def settings_of(part: dict[str, Any]) -> dict[str, Any]:
        name, settings = part["name"], part.get("settings")
        if not isinstance(settings, dict) or not isinstance(name, str) or name.endswith(".toml"):
            return {}
        with suppress(ConfigError):  # an unknown device is refused later, by its name
            return {"settings": paths_beside(folder, name, settings)}
        return {}

    devices = table.get("device")
    if isinstance(devices, list):
        table["device"] = [found(part) for part in devices]
    elif devices is not None:
        table["device"] = found(devices)


def _explain(problem: Any, table: Mapping[str, Any]) -> str:
    location = [part for part in problem["loc"] if part != "function-before"]
    if len(location) > 1 and location[0] == "device" and not isinstance(table.get("device"), list):
        del location[1]  # the only device needs no number
    key = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}: {nearest(str(location[-1]), _known_keys(location[:-1]))}"
    if problem["type"] == "missing":
        return f"the key {key!r} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    if not key:
        return message
    given = repr(problem["input"])
    if len(given) > SHOWN_CHARACTERS:
        given = given[:SHOWN_CHARACTERS] + "…"
    return f"{key}: {message}" + ("" if problem["type"] == "value_error" else f", not {given}")


def _known_keys(location: Iterable[int | str]) -> list[str]:
    """Keys of the table at a place in the file."""
    model: type[BaseModel] = ExperimentConfig
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is not None:
            kinds = (field.annotation, *get_args(field.annotation))
            model = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), model)
    return list(model.model_fields)
