"""From an experiment file to a valid configuration; every mistake in it becomes one clear line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hwloop.errors import ConfigError
from hwloop.experiment.config import ExperimentConfig
from hwloop.experiment.overrides import parse_setting, with_overrides
from hwloop.experiment.tensorboard_log import require_tensorboard
from hwloop.registry import DATASETS, DEVICES, TRAINERS, Registry, nearest, paths_beside, read_toml

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
        As :func:`hwloop.experiment.overrides.with_overrides` takes them. Of a run's own file, those that change
        the devices, or what they must fit, drop what it was measured with.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown (the nearest is named) or a value is unusable.
    """
    path = Path(path)
    table = read_toml(path)
    table.setdefault("name", path.stem)
    _find_device_files(table, path.parent)
    settings = list(settings)
    changed = with_overrides(table, settings)
    if any(parse_setting(setting)[0][0] in OF_DEVICES for setting in settings):
        changed.pop("measured_with", None)  # another device is asked for
    _find_device_files(changed, Path())
    return validated(changed, str(path))


def validated(table: Mapping[str, Any], where: str) -> ExperimentConfig:
    """The configuration that a table holds; ``where`` starts the message of the :class:`ConfigError`."""
    try:
        return ExperimentConfig.model_validate(dict(table))
    except ValidationError as error:
        lines = [_explain(problem, table) for problem in error.errors(include_url=False)]
        more = f" (and {len(lines) - SHOWN_ERRORS} more)" if len(lines) > SHOWN_ERRORS else ""
        raise ConfigError(f"{where}: {'; '.join(lines[:SHOWN_ERRORS])}{more}") from error


def check_names(config: ExperimentConfig) -> None:
    """Refuse an unknown dataset, device or trainer before anything heavy is imported.

    Raises
    ------
    ConfigError
        The name is unknown; the nearest is named. ``package.module:Name`` and device files are looked at later.
    """
    named: list[tuple[Registry, str]] = [(DATASETS, config.dataset.name), (TRAINERS, config.trainer.name)]
    named += [(DEVICES, part.name) for part in config.device if not part.name.endswith(".toml")]
    if config.run.tensorboard:
        require_tensorboard()
    for registry, name in named:
        if ":" not in name and name not in registry.entries():
            raise ConfigError(f"unknown {registry.kind} {name!r}: {nearest(name, registry.entries())}")


def _find_device_files(table: dict[str, Any], folder: Path) -> None:
    """Make paths of device files, and paths in devices' settings, absolute where what they name is in a folder."""

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
