"""Devices, wrappers, trainers, adaptation policies and datasets by name, found through entry points.

A third party's package adds one by declaring an entry point in its own ``pyproject.toml``; nothing here
changes, and nothing here imports a driver, a substrate or torch until it is asked for by name.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from hwloop.device import Device
from hwloop.device.settings import nearest as nearest
from hwloop.docstrings import first_lines
from hwloop.errors import ConfigError, HwloopError


def installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group. Folders are read again when ``sys.path`` or what stands in it has changed."""
    return _read(group, tuple((place, _changed(place)) for place in sys.path))


@functools.lru_cache(maxsize=64)
def _read(group: str, places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _changed(place: str) -> int:
    """When an entry of ``sys.path`` was last changed, in ns; 0 for what does not exist."""
    try:
        return os.stat(place or os.curdir).st_mtime_ns
    except OSError:
        return 0


class Registry:
    """The objects of one kind that the installed packages offer.

    Parameters
    ----------
    kind
        What they are called in messages.
    group
        Their group of entry points.
    schemes
        A group of entry points for names such as ``remote:HOST:PORT``: what stands behind ``remote`` is called
        with the rest of the name before everything else. Empty for none.
    """

    def __init__(self, kind: str, group: str, schemes: str = "") -> None:
        self.kind = kind
        self.group = group
        self.schemes = schemes

    def entries(self) -> dict[str, EntryPoint]:
        """Entry points by name, sorted."""
        return {entry.name: entry for entry in sorted(installed(self.group), key=lambda e: e.name)}

    def load(self, name: str) -> Any:
        """The object behind a name, behind ``scheme:rest``, or behind ``package.module:Name``.

        Raises
        ------
        ConfigError
            The name is unknown (the message names the nearest) or what it points to cannot be imported.
        """
        entry = self.entries().get(name)
        if entry is not None:
            return self._loaded(entry)
        if ":" not in name:
            raise ConfigError(f"unknown {self.kind} {name!r}: {nearest(name, self.entries())}")
        scheme, _, rest = name.partition(":")
        for known in (entry for entry in installed(self.schemes) if entry.name == scheme):
            return functools.partial(self._loaded(known), rest)
        find_modules_in(Path.cwd())
        with _users_modules_first():
            return self._loaded(EntryPoint(name=name, value=name, group=self.group))

    def _loaded(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            advice = "check the spelling and that its package is installed"
            top = entry.value.partition(":")[0].partition(".")[0]
            if entry.name == entry.value and isinstance(error, ModuleNotFoundError) and error.name == top:
                advice += f", or give the command in the folder that holds {top}.py; looked in {Path.cwd()}"
            raise ConfigError(
                f"{self.kind} {entry.name!r} ({entry.value}) cannot be imported: {error}; {advice}"
            ) from error

    def build(self, name: str, /, *args: Any, **settings: Any) -> Any:
        """Call the object behind a name; an unknown setting is refused by name before it is called."""
        factory = self.load(name)
        check_settings(factory, settings, f"{self.kind} {name!r}")
        try:
            return factory(*args, **settings)
        except HwloopError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.kind} {name!r} refuses its settings: {error}") from error

    def describe(self) -> dict[str, str]:
        """One line a name: the first line of its docstring, or why it cannot be loaded."""
        return described(self)[0]

    def _loaded_line(self, name: str) -> str:
        try:
            return (inspect.getdoc(self.load(name)) or "").partition("\n")[0]
        except ConfigError as error:
            return f"unavailable: {error}"


def described(*registries: Registry) -> list[dict[str, str]]:
    """:meth:`Registry.describe` of each; read from the source where it tells, so nothing is imported for it."""
    installed = entry_points()  # one look at every package, whatever the number of registries
    groups = [{entry.name: entry for entry in installed.select(group=each.group)} for each in registries]
    lines = first_lines(entry for group in groups for entry in group.values())
    return [
        {name: lines[group[name].value] or registry._loaded_line(name) for name in sorted(group)}
        for registry, group in zip(registries, groups, strict=True)
    ]


# Folders in which modules of the user's own lie, the latest first.
_FOLDERS: list[str] = []


def find_modules_in(folder: Path) -> None:
    """From now on a module in a folder can be named, as in ``module:Name``.

    The working folder is one, and so is that of every TOML file that is read, unless it is a package's. For the
    import of such a name they come before all others, later behind them: a module of the user's that is called as
    an installed one is found, and stands in the way of none.
    """
    path = str(folder.absolute())
    if (folder / "__init__.py").exists() and path != str(Path.cwd()):
        return
    if path in _FOLDERS:
        _FOLDERS.remove(path)
    _FOLDERS.insert(0, path)
    if path not in sys.path:
        sys.path.append(path)


def folders_of_modules(names: Iterable[str]) -> list[str]:
    """Of the folders of :func:`find_modules_in` those that hold a module of names such as ``module:Name``."""
    tops = {name.partition(":")[0].partition(".")[0] for name in names if ":" in name}
    return [
        folder
        for folder in _FOLDERS
        if any(Path(folder, top).is_dir() or Path(folder, f"{top}.py").is_file() for top in tops if top)
    ]


@contextmanager
def _users_modules_first() -> Iterator[None]:
    before = list(_FOLDERS)
    sys.path[:0] = before
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in before:
            with suppress(ValueError):
                sys.path.remove(folder)  # the first of two


def accepted_settings(factory: Callable[..., Any]) -> set[str] | None:
    """Names of the keyword settings that ``factory`` takes; ``None`` if it takes any."""
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def check_settings(factory: Callable[..., Any], settings: Mapping[str, Any], what: str) -> None:
    """Refuse a setting that ``factory`` does not take, naming the nearest that it does."""
    accepted = accepted_settings(factory)
    for key in settings:
        if accepted is not None and key not in accepted:
            raise ConfigError(f"{what} has no setting {key!r}: {nearest(key, accepted)}")


SCHEMES = Registry("way to reach devices", "hwloop.device_schemes")
DEVICES = Registry("device", "hwloop.devices", schemes=SCHEMES.group)
WRAPPERS = Registry("wrapper", "hwloop.wrappers")
TRAINERS = Registry("trainer", "hwloop.trainers")
ADAPTERS = Registry("adaptation policy", "hwloop.adapters")
DATASETS = Registry("dataset", "hwloop.datasets")
DATASET_READERS = Registry("reader of data", "hwloop.dataset_readers")
BENCHES = Registry("bench", "hwloop.benches")


def open_device(name: str | Path, /, **settings: Any) -> Device:
    """Build a device; opening its connection stays with ``with device:`` or the session.

    Parameters
    ----------
    name
        A name of ``hwloop list`` (``"optical-fibre"``), a device elsewhere (``"remote:HOST:PORT"``),
        ``"package.module:Class"``, or a TOML file::

            device = "optical-fibre"          # a name, or package.module:Class

            [settings]                        # what the device takes
            n_inputs = 64

            [[wrap]]                          # wrappers, from the inside out
            name = "averaged"
            n = 4
    settings
        Settings of the device; they win over the file's.

    Raises
    ------
    ConfigError
        Unknown device, wrapper or setting (the nearest is named), or an unreadable file.
    """
    if isinstance(name, Path) or str(name).endswith(".toml"):
        return _from_toml(Path(name), settings)
    device = DEVICES.build(name, **settings)
    if not isinstance(device, Device):
        raise ConfigError(
            f"device {name!r} gave a {type(device).__name__}, not a hwloop.Device; "
            "derive its class from hwloop.Device"
        )
    device.built_as = {"device": str(name), "settings": settings, "wrap": []}
    return device


def device_factory(name: str, settings: Mapping[str, Any]) -> Callable[[], Device]:
    """What makes a device again and again, as :func:`open_device` does.

    Raises
    ------
    ConfigError
        From the call: the name is unknown, its module cannot be imported, or its class cannot be called.
    """

    def make_device() -> Device:
        try:
            return open_device(name, **settings)
        except HwloopError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise ConfigError(
                f"the device {name!r} cannot be made ({what}); look there first: --debug shows the line"
            ) from error

    return make_device


def _from_toml(path: Path, overrides: Mapping[str, Any]) -> Device:
    table = read_toml(path)
    for key in table:
        if key not in ("device", "settings", "wrap"):
            raise ConfigError(f"{path}: unknown key {key!r}: {nearest(key, ('device', 'settings', 'wrap'))}")
    name, settings, wraps = table.get("device"), table.get("settings", {}), table.get("wrap", [])
    if not isinstance(name, str) or name.endswith(".toml"):
        raise ConfigError(f'{path}: needs a line such as device = "optical-fibre"; see hwloop list')
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: [settings] must be a table")
    device = open_device(name, **{**paths_beside(path.parent, name, settings), **overrides})
    if not (
        isinstance(wraps, list) and all(isinstance(w, dict) and isinstance(w.get("name"), str) for w in wraps)
    ):
        raise ConfigError(f'{path}: each wrapper is a table [[wrap]] with a line such as name = "averaged"')
    for wrap in wraps:
        options = {key: value for key, value in wrap.items() if key != "name"}
        inside, device = device, WRAPPERS.build(wrap["name"], device, **options)
        device.built_as = {**(inside.built_as or {}), "wrap": [*(inside.built_as or {}).get("wrap", []), wrap]}
    device.built_from = str(path)
    return device


def paths_beside(folder: Path, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A device's settings from a file in ``folder``: paths to what lies there become absolute."""
    factory = DEVICES.load(name)
    paths = getattr(getattr(factory, "func", factory), "path_settings", ())
    return {key: _path_beside(folder, value) if key in paths else value for key, value in settings.items()}


def _path_beside(folder: Path, value: Any) -> Any:
    """A path, or each of a list, or those in a device's table; one of a Python file may end in ``:Class``."""
    if isinstance(value, list):
        return [_path_beside(folder, each) for each in value]
    if isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("settings"), dict):
        return value | {"settings": paths_beside(folder, value["name"], value["settings"])}
    if not isinstance(value, str) or not value:
        return value
    head, python, rest = value.partition(".py:")
    path = os.path.abspath(folder / f"{head}{python.rstrip(':')}")
    return f"{path}{python[3:]}{rest}" if os.path.exists(path) else value


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary; a file that cannot be read is a :class:`ConfigError`.

    Modules beside it can be named from now on.
    """
    find_modules_in(path.parent)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # no TOML, no text, or a number or nesting beyond all bounds
        raise ConfigError(f"{path}: not a valid TOML file ({error})") from error
