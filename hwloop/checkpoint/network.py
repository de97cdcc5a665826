"""A trained network to a checkpoint, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hwloop.checkpoint.devices import (
    DEVICE_CHANGED,
    built_sessions,
    compare_devices,
    described_devices,
    require_known_entries,
)
from hwloop.checkpoint.file import read_checkpoint, require_network, write_checkpoint
from hwloop.errors import CheckpointError, ConfigError, HwloopError, HwloopWarning
from hwloop.layers import PhysicalNetwork, Stage
from hwloop.layers.interface import interface_tensors
from hwloop.layers.network import Readout
from hwloop.registry import nearest
from hwloop.runs.checkpoints import CHECKSUM, FORMAT, SUM_OF_TENSORS, UNSEALED
from hwloop.session import Session
from hwloop.tasks import entries_of, kind_of, registered, task_in
from hwloop.torch_state import own_torch_state
from hwloop.training.state import SavedState, TrainingState

if TYPE_CHECKING:
    from hwloop.reference import Fingerprint

INTERFACE = "interface."  # begins their names in a checkpoint; they follow from the latent weights
TRAINING = "training."  # begins the names of tensors that only training needs
KNOWN_ENTRIES = {
    *("format", "seed", "n_features", "class_names", "task", "stages", "weight_bits", "readout"),
    *("training", "details", "devices", SUM_OF_TENSORS, CHECKSUM),
}


@own_torch_state()
def save_network(
    network: PhysicalNetwork,
    path: str | Path,
    details: Mapping[str, Any] | None = None,
    training: TrainingState | None = None,
) -> None:
    """Write ``path`` (safetensors) and, beside it, the same name with ``.json``.

    Both are written aside and renamed, the JSON last: a checkpoint without it is not finished. It names the
    devices (:meth:`hwloop.Device.describe`), the classes (``network.class_names``) or another task, and carries a
    checksum over all of it. Devices that were watched by reference stimuli leave their fingerprints in it.

    Parameters
    ----------
    network
        Built, trained or not.
    path
        Should end with ``.safetensors``.
    details
        Plain JSON values to keep with it: where in a run it was made.
    training
        In the middle of a fit: its random state and optimisers are kept too.

    Raises
    ------
    CheckpointError
        It cannot be written there, the details are no JSON, a weight is NaN or infinite, the names of classes do
        not fit the readout, or the network is one over a graph or of a task that is not registered; a checkpoint
        that was there before is untouched.
    JournalError
        The rows that the network was trained on cannot be brought to the disk.
    DeviceChanged
        Another unit answers by now than the one that is said to have measured these rows.
    """
    path = Path(path)
    if network.not_to_be_saved:
        raise CheckpointError(network.not_to_be_saved)
    if network.task is not None and registered(network.task.kind) is not type(network.task):
        raise CheckpointError(
            f"a network trained for {type(network.task).__name__} cannot be saved: no task of that kind is an "
            "entry point of hwloop.tasks, so the network that is loaded would predict something else"
        )
    described = {
        "seed": network.seed,
        "n_features": network.n_features,
        "class_names": list(network.class_names),
        **entries_of(network.task),
        "stages": [stage.settings() for _, stage, _ in network],
        "weight_bits": [stage.linear.bits for _, stage, _ in network],
        "readout": None if network.readout is None else network.readout.settings(),
        "training": None if training is None else training.as_dict(),
        "details": dict(details or {}),
        "devices": described_devices(network),
    }
    try:
        _class_names(described)  # what is refused when it is loaded is not written
    except ValueError as error:
        raise CheckpointError(f"this network cannot be saved: {error}; set network.class_names") from error
    for session in network.distinct_sessions:
        session.confirm()
        session.journal.sync()  # a checkpoint is never newer than the rows that it was made of
    write_checkpoint(path, described, network_tensors(network, training))


@own_torch_state()
def load_network(
    path: str | Path,
    session: Session | Sequence[Session] | None = None,
    compare_device: bool = True,
    device_changed: str = "refuse",
) -> PhysicalNetwork:
    """The network that a checkpoint holds, on a device or on one a stage.

    Each device is opened once, to see that it is the one that the network was trained on. If the checkpoint holds
    fingerprints, each measures those reference stimuli once (8 rows, unless a reference said otherwise), and a
    :class:`hwloop.errors.HwloopWarning` says by how much it answers differently.

    Parameters
    ----------
    path
        The ``.safetensors`` file; its ``.json`` lies beside it.
    session
        One that serves every stage, or a list of one a stage. By default the devices are built as the checkpoint
        says, where they were opened by names of ``hwloop list`` with plain settings: it imports nothing else.
    compare_device
        ``False`` opens and measures nothing: for a device that is not at hand.
    device_changed
        What is done about a device of another description: ``"refuse"``, or ``"warn"`` and go on with it.

    Raises
    ------
    CheckpointError
        The files are absent or damaged, hold NaN or something that is not understood, or the device is another
        one (the message says in what), or it cannot be built from the checkpoint.
    DeviceError
        A device cannot be opened.
    """
    path = Path(path)
    if device_changed not in DEVICE_CHANGED:
        raise ConfigError(f"unknown device_changed {device_changed!r}: {nearest(device_changed, DEVICE_CHANGED)}")
    described, tensors = read_checkpoint(path)
    require_network(described, path)
    _say_what_is_missing(path, described)
    sessions = _sessions(path, session, described)
    if compare_device and described["format"] != UNSEALED:
        compare_devices(described["devices"], sessions, device_changed, path)
    network = _fitted_in(path, sessions, described, tensors)
    if compare_device:
        for stored, one in stored_fingerprints(network, described):
            warn_of_difference(stored, one)
    return network


def _sessions(
    path: Path, given: Session | Sequence[Session] | None, described: Mapping[str, Any]
) -> list[Session]:
    """One a stage."""
    require_known_entries(described, path)
    n_stages = len(described["stages"])
    if given is None:
        if described["format"] == UNSEALED:
            raise CheckpointError(f"{path} names no device; give it: hwloop.load_network(path, Session(device))")
        return built_sessions(described)
    return [given] * n_stages if isinstance(given, Session) else list(given)


def _fitted_in(
    path: Path, sessions: Sequence[Session], described: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> PhysicalNetwork:
    """The network; whatever is wrong with it is a :class:`CheckpointError`."""
    try:
        return _network(sessions, described, tensors)
    except (
        HwloopError,
        LookupError,
        TypeError,
        ArithmeticError,
        ValueError,
        RuntimeError,
        AttributeError,
    ) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path} does not fit this device or this version of hwloop ({type(error).__name__}: {first_line}); "
            "open it with the device that it was trained on"
        ) from error


def _network(
    sessions: Sequence[Session], described: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> PhysicalNetwork:
    """The network that a description and its tensors hold; whatever of them is not understood is an error."""
    _require_known(described)
    stages = [_kind(settings).from_settings(settings) for settings in described["stages"]]
    network = PhysicalNetwork(sessions, stages, seed=described["seed"])
    _require_sizes_of(tensors, described)
    network.build(described["n_features"])
    if described["readout"] is not None:
        kind = Readout.of_kind(described["readout"]["kind"])
        network.readout = kind.from_settings(network, described["readout"])
    held = {k: v for k, v in tensors.items() if not k.startswith((TRAINING, INTERFACE))}
    for name, empty in network.state_dict().items():
        if name in held and held[name].dtype != empty.dtype:
            raise ValueError(f"{name} is {held[name].dtype} where this network has {empty.dtype}")
    network.load_state_dict(held)
    require_quantised(tensors, network)
    _require_same_settings(described, network)
    network.class_names = _class_names(described)
    network.task = task_in(described)
    return network


def _kind(settings: Mapping[str, Any]) -> type[Stage]:
    """Which stage the settings are of; one that names no kind is a plain one."""
    return Stage.of_kind(settings.get("kind", Stage.kind))


def _require_known(described: Mapping[str, Any]) -> None:
    """Refuse an entry that a newer version has written: what it means is not known, so it must not be ignored."""
    unknown = sorted(set(described) - KNOWN_ENTRIES)
    if unknown:
        raise ValueError(f"its entry {unknown[0]!r} is not understood")


def _require_same_settings(described: Mapping[str, Any], network: PhysicalNetwork) -> None:
    """Refuse a setting of a stage or a readout that went into nothing that was made."""
    pairs = [
        (settings, stage.settings()) for settings, (_, stage, _) in zip(described["stages"], network, strict=True)
    ]
    if network.readout is not None:
        pairs.append((described["readout"], network.readout.settings()))
    for settings, made in pairs:
        for key, value in settings.items():
            if key not in made or made[key] != value:
                raise ValueError(f"its setting {key} = {value!r:.100} is not understood")
    bits = [stage.linear.bits for _, stage, _ in network]
    if described.get("weight_bits", bits) != bits:
        raise ValueError(
            f"its weights have {described['weight_bits']!r:.100} bits, and those of its stages {bits}"
        )


def _class_names(described: Mapping[str, Any]) -> tuple[str, ...]:
    names = described.get("class_names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its class names are no list of text")
    readout = described["readout"] or {}
    n_classes = readout.get("n_classes", readout.get("shape", [None])[-1])
    if names and n_classes is not None and len(names) != n_classes:
        raise ValueError(f"it names {len(names)} classes where its readout has {n_classes}")
    return tuple(names)


def _say_what_is_missing(path: Path, described: Mapping[str, Any]) -> None:
    """An older checkpoint is loaded, but what it cannot vouch for is said."""
    if described["format"] == UNSEALED:
        warnings.warn(
            f"{path} is of format {UNSEALED}, before checkpoints named their device and their classes: whether "
            "this is the device that it was trained on, what its classes are called and whether a bit has "
            f"changed is not known. hwloop.save_network writes it anew, in format {FORMAT}",
            HwloopWarning,
            stacklevel=3,
        )


def stored_fingerprints(
    network: PhysicalNetwork, described: Mapping[str, Any]
) -> list[tuple[Fingerprint, Session]]:
    """What a checkpoint holds of devices that were watched, with the sessions that now serve their stages.

    Raises
    ------
    CheckpointError
        They cannot be read.
    """
    from hwloop.reference import Fingerprint

    try:
        return [
            (Fingerprint.from_dict(entry["fingerprint"]), session)
            for entry in described.get("devices", [])
            if "fingerprint" in entry
            for session in dict.fromkeys(network.sessions[number] for number in entry["stages"])
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"a stored fingerprint cannot be read ({type(error).__name__}: {error})") from error


def warn_of_difference(stored: Fingerprint, session: Session) -> None:
    """Measure the reference stimuli of a stored fingerprint, and say how differently the device answers now."""
    difference = _difference(stored, session)
    if difference:
        warnings.warn(difference, HwloopWarning, stacklevel=3)


def _difference(stored: Fingerprint, session: Session) -> str:
    """How differently a device answers now, in words; empty if noise may be the cause."""
    from hwloop.reference.fingerprint import change_since_training

    stimuli = stored.stimuli(session.device.spec)
    if stimuli is None:
        device = type(session.device).__name__
        return (
            f"{device} has other limits or channels than the device that this network was saved with "
            f"({stored.identity}): how differently it answers is not known"
        )
    found = stored.change_to(session.measure(stimuli, "reference"))
    return change_since_training(stored, found, session.identity) if found.drift else ""


def network_tensors(network: PhysicalNetwork, training: TrainingState | None = None) -> dict[str, Tensor]:
    """Every tensor of a network by name: maps, encoders, standardisers, readout; quantised maps also as levels
    and scale; in a fit its random state and optimisers too.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    tensors |= quantised_tensors(network)
    if training is None:
        return tensors
    return tensors | {f"{TRAINING}{name}": tensor for name, tensor in training.all_tensors().items()}


def read_training(path: Path) -> SavedState:
    """Where the fit stood that a checkpoint was saved in.

    Raises
    ------
    CheckpointError
        It is damaged, or was not saved within a fit.
    """
    described, tensors = read_checkpoint(path)
    if not isinstance(described.get("training"), dict):
        raise CheckpointError(f"{path} was not saved within a fit; there is nothing to go on from")
    network = {name: value for name, value in tensors.items() if not name.startswith((TRAINING, INTERFACE))}
    training = {name[len(TRAINING) :]: value for name, value in tensors.items() if name.startswith(TRAINING)}
    return SavedState.of(described["training"], network, training)


def _require_sizes_of(tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> None:
    """Refuse a description of another size than the tensors have, before anything of that size is made.

    Raises
    ------
    ValueError, KeyError, TypeError
    """
    first = described["stages"][0]
    sizes = [(described["n_features"], _kind(first).features_held(first, tensors, "stages.0."))]
    for number, stage in enumerate(described["stages"]):
        sizes.append((stage["width"], len(tensors[f"stages.{number}.linear.weight"])))
    readout = described["readout"] or {}
    if "shape" in readout:
        sizes += zip(readout["shape"], tensors["readout.weight"].shape, strict=True)
    largest = max(size for tensor in tensors.values() for size in tensor.shape)
    for found in (described.get("task"), readout if "task" in readout else None):
        if found is not None:
            n_outputs = kind_of(found).of_sizes(found).read_at_once
            sizes.append((n_outputs, min(n_outputs, largest)))
    if "n_classes" in readout:
        sizes.append((readout["n_classes"], min(readout["n_classes"], largest)))
    for claimed, size in sizes:
        if type(claimed) is not int or claimed != size:
            raise ValueError(f"its description speaks of {claimed!r} where its tensors have {size}")


def quantised_tensors(network: PhysicalNetwork) -> dict[str, Tensor]:
    """Levels and scale of every map whose weights are quantised, by ``interface.<stage>.<name>``."""
    return {
        f"{INTERFACE}{number}.{name}": tensor
        for number, stage, _ in network
        for name, tensor in interface_tensors(stage.linear).items()
    }


def require_quantised(tensors: Mapping[str, Tensor], network: PhysicalNetwork) -> None:
    """Refuse levels that are not those of the network's latent weights: hardware would compute something else.

    Raises
    ------
    ValueError
    """
    held = {name: tensor for name, tensor in tensors.items() if name.startswith(INTERFACE)}
    made = quantised_tensors(network)
    if held.keys() != made.keys():
        raise ValueError("its quantised maps are not those of its description")
    for name, tensor in made.items():
        same = torch.allclose if tensor.is_floating_point() else torch.equal
        if tensor.shape != held[name].shape or not same(tensor, held[name]):
            raise ValueError(f"{name} does not follow from the latent weights beside it")
