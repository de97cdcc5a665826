"""The devices that a checkpoint names: are those at hand the same, and if none is at hand, how they are built."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from hwloop.device import Device, DeviceDescription, DeviceWrapper
from hwloop.errors import CheckpointError, ConfigError, HwloopError, HwloopWarning
from hwloop.layers import PhysicalNetwork
from hwloop.registry import DEVICES, WRAPPERS, open_device
from hwloop.runs.checkpoints import UNSEALED
from hwloop.session import Session

DEVICE_CHANGED = ("refuse", "warn")
SHOWN_DIFFERENCES = 5
ENTRIES = frozenset({"stages", "description", "built_as", "fingerprint"})


def described_devices(network: PhysicalNetwork) -> list[dict[str, Any]]:
    """Every device that serves a stage: what it is, how it was built, and its fingerprint if it was watched."""
    found = []
    for session in network.distinct_sessions:
        stages = [number for number, _, used in network if used is session]
        if not stages:
            continue  # a client's: predictions are not measured by it
        found.append(described_device(session, stages))
    return found


def described_device(session: Session, stages: Sequence[int]) -> dict[str, Any]:
    """What the device is that serves some stages, how it was built, and its fingerprint if it was watched."""
    entry: dict[str, Any] = {"stages": list(stages), "description": _at_hand(session).as_dict()}
    entry["built_as"] = built_as(session.device)
    fingerprint = session.fingerprint()
    if fingerprint is not None:
        entry["fingerprint"] = fingerprint.as_dict()
    return entry


def built_as(device: Device) -> dict[str, Any] | None:
    """How a device was built from names and settings, as a device file would say it; ``None`` if nobody knows."""
    if device.built_as is not None:
        recipe = dict(device.built_as)
    elif isinstance(device, DeviceWrapper):
        inside, name = built_as(device.device), _registered(WRAPPERS.entries(), device)
        if inside is None or name is None:
            return None
        recipe = {**inside, "wrap": [*inside["wrap"], {"name": name, **device.described_settings()}]}
    else:
        name = _registered(DEVICES.entries(), device)
        recipe = {"device": name, "settings": device.described_settings(), "wrap": []}
        if name is None or not _is_safe(recipe):
            return None  # a description names arrays and files by what they hold, which builds nothing
    try:
        json.dumps(recipe, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return recipe


def built_sessions(described: Mapping[str, Any], budget: int | None = None) -> list[Session]:
    """A session for every stage, with a budget each, on devices that are built as a checkpoint's description says.

    Raises
    ------
    CheckpointError
        A device cannot be built from the checkpoint alone.
    """
    entries, n_stages = described["devices"], len(described["stages"])
    sessions: dict[int, Session] = {}
    for entry in entries:
        session = Session(_built(entry), budget=budget)
        sessions |= dict.fromkeys(entry["stages"], session)
    if sorted(sessions) != list(range(n_stages)):
        raise CheckpointError(
            f"the checkpoint names devices for the stages {sorted(sessions)} of {n_stages}; give the device: "
            "hwloop.load_network(path, hwloop.Session(device))"
        )
    return [sessions[number] for number in range(n_stages)]


def compare_devices(
    entries: Sequence[Mapping[str, Any]], sessions: Sequence[Session], device_changed: str, path: object
) -> None:
    """Open each device and compare it with the one that the network was trained on.

    Raises
    ------
    CheckpointError
        It is another one, and ``device_changed`` is ``"refuse"``.
    DeviceError
        It cannot be opened.
    """
    for entry in entries:
        stored = _description(entry)
        for session in dict.fromkeys(sessions[number] for number in entry["stages"] if number < len(sessions)):
            with session:
                different = stored.differences(_at_hand(session))
            if different:
                _report(different, entry["stages"], device_changed, path)


def _at_hand(session: Session) -> DeviceDescription:
    """As it was when it was last open, which is when hardware says who it is."""
    return session.device.describe() if session.description is None else session.description


def require_known_entries(described: Mapping[str, Any], path: object) -> None:
    """Refuse a description whose devices say something else than this version understands.

    Raises
    ------
    CheckpointError
    """
    entries = [] if described["format"] == UNSEALED else described.get("devices")
    problem = "" if isinstance(described.get("stages"), list) else "its stages are no list"
    if not isinstance(entries, list):
        problem, entries = "its devices are no list", []
    for entry in entries:
        stages = entry.get("stages") if isinstance(entry, dict) else None
        if not isinstance(stages, list) or not all(type(stage) is int and stage >= 0 for stage in stages):
            problem = "it does not say which stages a device serves"
        elif set(entry) - ENTRIES:
            problem = f"its device has an entry {min(set(entry) - ENTRIES)!r}"
    if problem:
        raise CheckpointError(f"{path} is not understood: {problem}; was it saved by another version of hwloop?")


def _report(different: Sequence[str], stages: Sequence[int], device_changed: str, path: object) -> None:
    more = len(different) - SHOWN_DIFFERENCES
    shown = "; ".join([*different[:SHOWN_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])
    which = ", ".join(str(stage + 1) for stage in stages)
    message = (
        f"{path} was trained on another device than serves stage {which} now (the checkpoint's value first, then "
        f"this device's): {shown}"
    )
    if device_changed == "refuse":
        raise CheckpointError(
            f"{message}. Open it with the device that it was trained on, or, if its answers are known to be the "
            'same, with device_changed="warn" (hwloop predict: --device-changed warn)'
        )
    warnings.warn(
        f"{message}. Expect another accuracy than the network had: measure it on test rows",
        HwloopWarning,
        stacklevel=4,
    )


def _description(entry: Mapping[str, Any]) -> DeviceDescription:
    try:
        return DeviceDescription.from_dict(entry["description"])
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint's device cannot be read ({error})") from error


def _built(entry: Mapping[str, Any]) -> Device:
    recipe, name = entry.get("built_as"), _description(entry).name
    if not _is_safe(recipe):
        said = "" if recipe is None else f" as {recipe!r:.300}"
        raise CheckpointError(
            f"the checkpoint was trained on {name}, which was built{said}, and a checkpoint builds devices from "
            "names of hwloop list and plain settings alone: it imports nothing. Is its package installed? Else "
            "open the device yourself and give it: hwloop.PhysicalClassifier.load(path, device) for a classifier, "
            "hwloop.load_network(path, hwloop.Session(device)) for a network, --device on the command line"
        )
    assert isinstance(recipe, dict)
    try:
        device = open_device(recipe["device"], **recipe["settings"])
        for wrap in recipe["wrap"]:
            device = WRAPPERS.build(wrap["name"], device, **{k: v for k, v in wrap.items() if k != "name"})
    except HwloopError as error:
        raise CheckpointError(f"the checkpoint's device cannot be built: {error}") from error
    return device


def _registered(entries: Mapping[str, Any], device: Device) -> str | None:
    """The name under which a device's very class is registered."""
    for name, entry in entries.items():
        # Without importing what belongs to others: a class that is in use has been imported.
        if entry.attr == type(device).__qualname__ and entry.load() is type(device):
            return name
    return None


def _is_safe(recipe: Any) -> bool:
    """Whether a recipe names registered devices and wrappers, and plain settings of which none is a path.

    A file that is loaded must execute nothing that it names: so neither ``package.module:Class`` nor a setting
    that is a path is taken from it.
    """
    if not isinstance(recipe, dict) or set(recipe) != {"device", "settings", "wrap"}:
        return False
    name, settings, wraps = recipe["device"], recipe["settings"], recipe["wrap"]
    if not isinstance(name, str) or not isinstance(wraps, list) or name not in DEVICES.entries():
        return False
    known = WRAPPERS.entries()
    for wrap in wraps:
        if not isinstance(wrap, dict) or not isinstance(wrap.get("name"), str) or wrap["name"] not in known:
            return False
    paths = getattr(DEVICES.load(name), "path_settings", ())
    return _are_plain(settings, paths) and all(_are_plain(wrap, ()) for wrap in wraps)


def _are_plain(settings: Any, paths: Any) -> bool:
    return isinstance(settings, dict) and all(
        isinstance(key, str) and key not in paths and _is_plain(value) for key, value in settings.items()
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, int | float | list) and _is_plain(each) for each in value)
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
