"""What says that two devices are the same: over every class of hwloop's, and over what a lab's driver may hold."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import hwloop
import hwloop.devices
import hwloop.experiments
import hwloop.simulators
from hwloop.device import Device, DeviceDescription, DeviceSpec, DeviceWrapper
from hwloop.devices.adapters.channels import ChannelDevice, Gettable, Settable
from hwloop.devices.adapters.pymeasure_instrument import PyMeasureDevice
from hwloop.devices.calibrated import Calibrated
from hwloop.devices.faulty import Faulty
from hwloop.devices.pool import Pool
from hwloop.devices.sound_card import SoundCard
from hwloop.devices.waveform import WaveformDevice
from hwloop.devices.worker import WorkerDevice
from hwloop.experiment.rigs import AbsentDevice
from hwloop.journal import DiskJournal
from hwloop.registry import DEVICES, SCHEMES, WRAPPERS
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.simulators.spiking.spiking_lif import SpikingLIF
from hwloop.toml_text import toml_text

# -- every setting of every class -----------------------------------------------------------------------------

MADE_BY_A_FUNCTION = {"acoustic-recorded", "fibre-recorded", "twin"}  # of classes in the table
SPEC = DeviceSpec(2, 2, input_low=-1.0)


def classes():
    """Every class of hwloop's that is a device, found in the source: no module is forgotten, few are imported."""
    bases: dict[str, tuple[str, set[str]]] = {}
    for package in (hwloop, hwloop.devices, hwloop.simulators, hwloop.experiments):
        root = Path(package.__path__[0])
        for file in root.rglob("*.py"):
            module = ".".join([package.__name__, *file.relative_to(root).with_suffix("").parts])
            for name, above in re.findall(r"^class (\w+)\(([^)]*)\):", file.read_text(), re.MULTILINE):
                bases[name] = (module, {base.strip().rpartition(".")[2] for base in above.split(",")})
    found, names = set(), {"Device"}
    while names:
        names = {name for name, (_, above) in bases.items() if above & names}
        found |= {getattr(importlib.import_module(bases[name][0]), name) for name in names}
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


CLASSES = [kind for kind in classes() if not inspect.isabstract(kind)]
every_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def settings_of(kind):
    """Its settings by name, those of its base classes that it passes on included; but a wrapper's device."""
    names = [p for p in inspect.signature(kind).parameters.values() if p.kind is not p.VAR_KEYWORD]
    return [p for p in names if not (issubclass(kind, DeviceWrapper) and p.name == "device")]


def values_of(parameter):
    """A value and another one: no constructor sees them."""
    default = parameter.default
    if isinstance(default, bool):
        return default, not default
    if isinstance(default, int | float):
        return 1, 2
    if isinstance(default, str):
        return default, f"{default}-other"
    return 0.25, 0.75


def described(kind, settings):
    """What the class says that it is made of, without building it."""
    first = {"device": Meter()} if issubclass(kind, DeviceWrapper) else {}
    unnamed = [name for name, p in inspect.signature(kind).parameters.items() if p.kind is p.POSITIONAL_ONLY]
    device = kind.__new__(kind, *(settings.pop(name) for name in unnamed), **first, **settings)
    return device._built_from_arguments.settings


def test_the_table_holds_every_device_wrapper_and_scheme():
    for registry in (DEVICES, WRAPPERS, SCHEMES):
        for name in registry.entries():
            factory = registry.load(name)
            if name not in MADE_BY_A_FUNCTION:
                assert factory in CLASSES, f"{name} is in no table: what is it described by?"


@every_class
def test_every_setting_is_part_of_the_description_or_listed_with_a_reason(kind):
    parameters = settings_of(kind)
    given = {p.name: values_of(p)[0] for p in parameters}
    harmless = kind.all_harmless_settings()
    base = described(kind, dict(given))
    for parameter in parameters:
        changed = described(kind, {**given, parameter.name: values_of(parameter)[1]})
        if parameter.name in harmless:
            assert len(harmless[parameter.name].split()) >= 2, f"why {parameter.name} changes no answer"
            assert changed == base
        elif parameter.name in kind.self_described:
            assert (owner_of(kind, parameter.name), parameter.name) in SELF_DESCRIBED
        else:
            assert changed != base, f"{kind.__name__}.{parameter.name} is forgotten"


@every_class
def test_no_setting_is_listed_that_is_none(kind):
    names = {p.name for base in kind.__mro__ if base is not object for p in parameters_of(base)}
    below = {p.name for other in CLASSES if issubclass(other, kind) for p in settings_of(other)}
    for name in {**kind.__dict__.get("harmless_settings", {}), **dict.fromkeys(kind.self_described)}:
        assert name in names | below, f"{kind.__name__} has no setting {name}"


def parameters_of(kind):
    return [] if "__init__" not in kind.__dict__ else inspect.signature(kind).parameters.values()


def owner_of(kind, name):
    return next(base for base in reversed(kind.__mro__) if name in base.__dict__.get("self_described", ()))


# -- settings that a class puts into words itself: built, and asked ---------------------------------------------


class Meter(Device):
    """A driver as a lab writes it."""

    spec = SPEC

    def __init__(self, serial="7", gain=2.0):
        self.serial, self.gain = serial, gain

    def identify(self):
        return f"ACME,meter,{self.serial}"

    def _measure(self, inputs):
        return self.gain * inputs


def channels(low=-1.0, unit="V", factor=2.0, name="gate", identity="ACME 7"):
    settable = Settable(name, lambda value: factor * value, low, 1.0, unit)
    return ChannelDevice([settable], [Gettable("meter", lambda: 0.0)], identity=identity)


def recorded(folder, gain, name):
    journal = DiskJournal(folder / name)
    with hwloop.Session(Meter(gain=gain), journal=journal) as session:
        session.measure(np.array([[0.25, 0.5]]))
    journal.close()
    return folder / name


def run_of(folder, seed=0, device=0):
    for k in range(2):
        for n in range(2):
            recorded(folder / "run" / "journal", 1.0 + k + 2 * n, f"seed-{k}-device-{n}")
    return hwloop.Replay(folder / "run", seed, device)


def worker(python):
    device = WorkerDevice(target="rig:Rig", python=python)
    device._spec = SPEC
    return device


class Supply:
    voltage = property(lambda self: 0.0, lambda self, value: None)

    def __init__(self, serial):
        self.id = f"ACME,supply,{serial}"


def supplied(serial):
    return PyMeasureDevice(Supply(serial), [("voltage", 0, 1)], ["voltage"])


SELF_DESCRIBED = {
    (ChannelDevice, "settables"): lambda folder: [
        channels(), channels(low=-2.0), channels(unit="A"), channels(factor=3.0), channels(name="drain"),
    ],
    (ChannelDevice, "gettables"): lambda folder: [
        ChannelDevice([Settable("x", print, 0, 1)], [Gettable("m", lambda: 0.0, unit)]) for unit in ("V", "A")
    ],
    (ChannelDevice, "identity"): lambda folder: [channels(identity=serial) for serial in ("7", "8")],
    (PyMeasureDevice, "instrument"): lambda folder: [supplied(serial) for serial in ("7", "8")],
    (hwloop.Replay, "path"): lambda folder: [
        hwloop.Replay(recorded(folder, gain, f"gain-{gain}")) for gain in (1.0, 2.0)
    ],
    (hwloop.Replay, "run_seed"): lambda folder: [run_of(folder / "a"), run_of(folder / "b", seed=1)],
    (hwloop.Replay, "device_number"): lambda folder: [run_of(folder / "a"), run_of(folder / "b", device=1)],
    (Pool, "devices"): lambda folder: [Pool([Meter(), Meter(gain=gain)]) for gain in (2.0, 3.0)],
    (WorkerDevice, "python"): lambda folder: [worker(python) for python in ("/a/python", "/b/python")],
    (AbsentDevice, "description"): lambda folder: [
        AbsentDevice(SPEC, "7", Meter(gain=gain).describe()) for gain in (2.0, 3.0)
    ],
}  # fmt: skip


@pytest.mark.parametrize("of", SELF_DESCRIBED, ids=lambda of: f"{of[0].__name__}.{of[1]}")
def test_what_a_class_puts_into_words_itself_changes_the_description(of, tmp_path):
    devices = SELF_DESCRIBED[of](tmp_path)
    first, *others = [device.describe() for device in devices]
    assert first == devices[0].describe()
    for other in others:
        assert first != other
        assert first.differences(other)


# -- what a setting may be ---------------------------------------------------------------------------------------


class Any_(Device):  # noqa: N801
    spec = SPEC

    def __init__(self, value=None, *more, **others):
        self.read = value

    def identify(self):
        return "any"

    def _measure(self, inputs):
        return inputs


@dataclass
class Lens:
    focus: float


class Plain:
    def __init__(self, focus):
        self.focus = focus


class Opaque:
    def __init__(self):
        self.lock = __import__("threading").Lock()


def scaled(by):
    return lambda value: by * value


def twice(value, by=2):
    return by * value


UNEQUAL = {
    "numbers": [1, 2, 1.5, True, "1", None, float("inf"), float("nan"), -float("inf"), 1 + 1j],
    "large arrays": [np.arange(100.0), np.arange(100.0) + 1e-15, np.arange(100.0).reshape(10, 10), np.arange(99)],
    "one value of many": [np.eye(40), np.eye(40) * (1 + 2e-16 * (np.arange(1600).reshape(40, 40) == 41))],
    "complex arrays": [np.ones(80) * 1j, np.ones(80) * 2j, np.ones(80)],
    "long lists": [list(range(1000)), [*range(999), 7], [*range(998), 998.5, 999]],
    "order of a mapping": [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    "nested": [{"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, {"a": [1, {"c": 2}]}],
    "functions": [scaled(2), scaled(3), lambda v: v + 1, lambda v: v + 2, lambda v: v - 1, twice],
    "partials": [functools.partial(twice, by=3), functools.partial(twice, by=4), functools.partial(scaled, 3)],
    "objects": [Lens(1.0), Lens(2.0), Plain(1.0), Plain(2.0)],
    "methods": [Plain(1.0).__init__, Plain(2.0).__init__],
    "generators": [np.random.default_rng(1), np.random.default_rng(2)],
    "bytes": [b"ab", b"ac"],
    "large whole numbers": [np.arange(100) + 2**60, np.arange(100) + 2**60 + 1],
    "text arrays": [np.array(["a", "b"]), np.array(["a", "c"])],
    "sets": [{1, 2}, {1, 3}],
}
EQUAL = {
    "numbers": [2, 2.0, np.int32(2), np.float64(2), np.array(2)],
    "arrays": [[1.0, 2.5], (1, 2.5), np.array([1, 2.5]), np.array([1, 2.5], dtype=np.float32)],
    "large arrays": [np.arange(200), np.arange(200.0), list(range(200)), np.arange(400)[::2] // 2],
    "mappings": [{"gain": 1, "low": [0]}, {"gain": 1.0, "low": np.zeros(1)}],
    "functions": [scaled(2), scaled(2)],
    "objects": [Lens(1.0), Lens(1)],
    "sets": [{"a", "b"}, {"b", "a"}],
    "-0": [np.r_[np.zeros(99), -0.0], np.zeros(100)],
}


@pytest.mark.parametrize("values", UNEQUAL.values(), ids=UNEQUAL)
def test_another_value_is_another_device(values):
    digests = [Any_(value).describe().digest() for value in values]
    assert len(set(digests)) == len(values)
    assert digests == [Any_(copy.deepcopy(value)).describe().digest() for value in values]


SCALE = 2.0
CALLS = 0


def helper(value):
    return value + 1


def another_helper(value):
    return value + 2


def reading(value):
    global CALLS
    CALLS += 1
    return SCALE * helper(value) if CALLS else reading(value)


def test_what_a_function_reads_from_its_module_is_part_of_it_and_its_own_state_is_not(monkeypatch):
    first = Any_(reading).describe()
    reading(1.0)
    assert Any_(reading).describe() == first
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert any("SCALE" in each for each in first.differences(Any_(reading).describe()))
    monkeypatch.undo()
    monkeypatch.setattr(sys.modules[__name__], "helper", another_helper)
    assert Any_(reading).describe() != first


def test_a_function_is_the_same_in_every_process():
    program = (
        "from hwloop.device.plain_value import PlainValues\n"
        "print(PlainValues().of(lambda v: v in {'a', 'b', 'c', 'd'} or v == ('x', frozenset({'y', 'z', 'w'}))))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


@pytest.mark.parametrize("values", EQUAL.values(), ids=EQUAL)
def test_the_same_value_written_otherwise_is_the_same_device(values):
    assert len({Any_(value).describe().digest() for value in values}) == 1


def test_what_is_passed_on_counts_by_name_and_place():
    assert Any_(1, 2, x=3).describe() == Any_(1, 2, x=3).describe()
    assert Any_(1, x=1, y=2).describe() == Any_(1, y=2, x=1).describe()
    assert len({Any_(*a, **k).describe() for a, k in [((1, 2), {}), ((1, 3), {}), ((1,), {"x": 2})]}) == 3


@pytest.mark.parametrize(
    "value", [Opaque(), [Opaque()], {"lock": Opaque()}, object(), functools.partial(print, Opaque())]
)
def test_what_cannot_be_described_is_said(value):
    description = Any_(value).describe()
    assert description == Any_(value).describe()
    assert any("Any_.value" in doubt and "known by name alone" in doubt for doubt in description.doubts())


def test_what_is_nested_without_end_or_raises_is_said_and_harms_nobody():
    endless: list[object] = []
    endless.append(endless)

    class Touchy(Mapping):
        def __getitem__(self, key):
            raise RuntimeError("do not touch")

        __iter__ = __len__ = __getitem__

    for value in (endless, Touchy(), [[[[[[[[[[[1]]]]]]]]]]]):
        assert Any_(value).describe().doubts() or value != endless


def test_settings_are_those_of_the_moment_when_it_was_built():
    gains = np.array([1.0, 2.0])
    device = Any_(gains)
    before = device.describe()
    gains[0] = 7.0
    assert device.describe() == before
    assert Any_(gains).describe() != before


# -- classes as labs write them ------------------------------------------------------------------------------


class Bare(Device):
    """Never calls the base's constructor."""

    spec = SPEC

    def __init__(self, gain, offset=0.5):
        pass

    def _measure(self, inputs):
        return inputs


class OwnNew(Bare):
    def __new__(cls, *arguments, **settings):
        return super().__new__(cls)


@dataclass(eq=False)
class Written(Device):
    gain: float = 1.0
    spec = SPEC

    def _measure(self, inputs):
        return inputs


class Slotted(Bare):
    __slots__ = ("x",)


class OwnState(Bare):
    def __getstate__(self):
        return {}


@pytest.mark.parametrize("kind", [Bare, OwnNew, Written, Slotted])
def test_the_constructors_arguments_describe_a_driver_that_says_nothing(kind):
    assert kind(1.0).describe() != kind(2.0).describe()
    assert kind(gain=1.0).describe() == kind(1).describe()
    assert not kind(1.0).describe().vouched
    assert "no serial number vouches" in kind(1.0).describe().doubts()[0]


@pytest.mark.parametrize("kind", [Bare, OwnNew, Written, Slotted])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_are_described_alike(kind, copied):
    device = Calibrated(kind(3.0), input_low=[-0.5, -0.25])
    assert copied(device).describe() == device.describe()
    assert copied(device).describe() != Calibrated(kind(3.0)).describe()


def test_a_copy_whose_state_leaves_its_arguments_out_keeps_them():
    assert copy.copy(OwnState(1.0)).describe() == OwnState(1.0).describe() != OwnState(2.0).describe()


def test_an_object_that_nobody_constructed_says_so():
    assert Bare.__new__(Bare).describe().doubts()[0].startswith("Bare.settings: what Bare was built from")


def test_a_default_that_is_given_is_the_same():
    assert Bare(1.0, 0.5).describe() == Bare(1.0).describe() == Bare(offset=0.5, gain=1.0).describe()


def test_a_wrapper_in_python_without_its_own_settings_holds_the_device_that_it_made():
    class Lab(hwloop.Averaged):
        def __init__(self):
            super().__init__(Meter(gain=5.0), 2)

    class Lab2(hwloop.Averaged):
        def __init__(self):
            super().__init__(Meter(gain=6.0), 2)

    Lab2.__qualname__ = Lab.__qualname__
    assert "Meter.gain: 5, not 6" in Lab().describe().differences(Lab2().describe())


# -- files --------------------------------------------------------------------------------------------------------


class FromFile(Device):
    spec = SPEC
    path_settings = frozenset({"path"})

    def __init__(self, path):
        pass

    def _measure(self, inputs):
        return inputs


def test_a_file_counts_by_its_content_not_its_place(tmp_path):
    for name, content in (("a.npz", "1"), ("b.npz", "1"), ("c.npz", "2")):
        (tmp_path / name).write_text(content)
    a, b, c = (FromFile(tmp_path / f"{name}.npz").describe() for name in "abc")
    assert a == b != c
    assert FromFile(str(tmp_path / "a.npz")).describe() == a
    (tmp_path / "a.npz").write_text("2")
    assert FromFile(tmp_path / "a.npz").describe() == c
    assert "FromFile.path.file" in a.differences(c)[0]


def test_a_file_counts_by_content_in_a_driver_that_does_not_say_that_it_is_one(tmp_path):
    (tmp_path / "gains.json").write_text("[1]")
    path = tmp_path / "gains.json"
    given = (path, str(path), {"file": str(path)}, [path])
    before = [Any_(value).describe() for value in given]
    (tmp_path / "moved.json").write_text("[1]")
    assert Any_(tmp_path / "moved.json").describe() == before[0] == before[1]
    path.write_text("[2]")
    for value, then in zip(given, before, strict=True):
        assert then != Any_(value).describe()
    assert Any_("/dev/null").describe() == Any_("/dev/null").describe() != Any_("/dev/zero").describe()
    assert Any_("a\0.b").describe() != Any_("a\0.c").describe()


def test_a_setting_that_is_found_harmless_later_makes_no_other_device_of_an_old_one():
    before = Bare(1.0, 0.5).describe()
    later = type("Bare", (Bare,), {"harmless_settings": {"offset": "of no meaning"}, "__module__": __name__})
    later.__qualname__ = "Bare"
    now = later(1.0, 0.75).describe()
    assert before.differences(now) == now.differences(before) == []
    assert before.differences(later(2.0).describe()) == ["Bare.gain: 1, not 2"]


def test_a_python_file_with_a_class_and_folders_of_modules_count_by_content(tmp_path):
    for folder, text in (("a", "x = 1"), ("b", "x = 1"), ("c", "x = 2")):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "rig.py").write_text("class Rig: pass")
        (tmp_path / folder / "sub" / "part.py").write_text(text)
    files = [
        FromFile(f"{tmp_path}/{name}/rig.py:{of}").describe()
        for name, of in (("a", "Rig"), ("b", "Rig"), ("a", "Other"))
    ]
    assert files[0] == files[1] != files[2]
    folders = [FromFile(tmp_path / name).describe() for name in "abc"]
    assert folders[0] == folders[1] != folders[2]
    lists = [FromFile([str(tmp_path / name)]).describe() for name in "abc"]
    assert lists[0] == lists[1] != lists[2]


# -- the description itself --------------------------------------------------------------------------------------


def stack(gain=2.0, low=-0.5, seed=0, plan=None):
    inner = Calibrated(Meter(), {"kind": "affine", "gain": [gain, 1.0], "offset": [0.0, 0.1]}, input_low=low)
    return hwloop.Averaged(Faulty(inner, plan or {"timeout": 0.0, "stale": 0.0}, seed), 3)


def test_a_description_survives_json_toml_and_bytes():
    device = Pool([stack(), stack()])
    description = device.describe()
    table = description.as_dict()
    for stored in (json.loads(json.dumps(table)), tomllib.loads(toml_text({"device": table}))["device"]):
        assert DeviceDescription.from_dict(stored) == description
        assert DeviceDescription.from_dict(stored).digest() == description.digest()
    assert DeviceDescription.from_bytes(description.as_bytes()) == description


def test_a_limit_that_all_channels_share_is_the_same_however_it_is_given():
    one, two = Meter(), Meter()
    two.spec = DeviceSpec(2, 2, input_low=np.array([-1.0, -1.0]))
    assert one.describe() == two.describe()
    two.spec = DeviceSpec(2, 2, input_low=np.array([-1.0, -0.5]))
    assert one.describe().differences(two.describe()) == ["Meter.spec.input_low: -1.0, not [-1.0, -0.5]"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gain": 3.0}, "Calibrated.correction.gain: [2, 1], not [3, 1]"),
        ({"low": -0.25}, "Calibrated.input_low: -0.5, not -0.25"),
        ({"seed": 1}, "Faulty.seed: 0, not 1"),
        (
            {"plan": {"stale": 0.0, "timeout": 0.0}},
            "not in the order",
        ),
    ],
)
def test_differences_name_the_key_and_both_values(changed, words):
    assert words in "; ".join(stack().describe().differences(stack(**changed).describe()))


def test_another_unit_another_wrapper_and_another_class_are_named():
    first = Calibrated(Meter()).describe()
    assert first.differences(Calibrated(Meter("8")).describe()) == [
        'Meter.serial: "7", not "8"',
        'Meter says of itself "ACME,meter,7", not "ACME,meter,8"',
    ]
    assert first.differences(Meter().describe()) == ["device: Calibrated around Meter, not Meter"]
    assert first.differences(Calibrated(Any_()).describe())[0] == "device: Meter, not Any_"


@pytest.mark.parametrize(
    "stored", [None, {}, [], {"name": 3}, {**stack().describe().as_dict(), "spec": {"n_inputs": -1}}, {"a": 1}]
)
def test_what_is_no_description_is_one_clear_error(stored):
    with pytest.raises(hwloop.ConfigError, match="stored description of a device cannot be read"):
        DeviceDescription.from_dict(stored)


def test_shipped_simulations_leave_no_doubt():
    for name in ("optical-fibre", "linear-instrument", "relu-layer", "relu-units", "delay-loop", "oscillators"):
        description = hwloop.open_device(name).describe()
        assert (description.doubts(), description.vouched) == ([], True)
        assert Path(name)  # each is built by its name


# -- classes that are derived from others -------------------------------------------------------------------------


def derived(base, *arguments, **settings):
    """A class that gives its base what nobody sees from outside; all of one name, as after an edit."""

    def construct(self):
        base.__init__(self, *arguments, **settings)

    return type("Ours", (base,), {"__init__": construct, "__module__": __name__, "__qualname__": "Ours"})()


VISA = ("TCPIP::a::5025::SOCKET", "TCPIP::b::5025::SOCKET", 2, 2)
EDITED = {
    "a wrapper": (hwloop.Averaged, (Meter(),), {"n": 2}, {"n": 3}),
    "the device in it": (Calibrated, (), {"device": Meter(gain=2.0)}, {"device": Meter(gain=3.0)}),
    "an instrument": (WaveformDevice, VISA, {"oscilloscope_channel": 1}, {"oscilloscope_channel": 2}),
    "a sound card": (SoundCard, (4, 4), {"peak": 0.3}, {"peak": 0.4}),
    "a driver": (Meter, ("7",), {"gain": 2.0}, {"gain": 3.0}),
    "a simulation": (OpticalFibre, (), {"seed": 1}, {"seed": 2}),
    "spiking neurons": (SpikingLIF, (), {"bias_current": 1.0}, {"bias_current": 1.5}),
    "members of a pool": (Pool, (), {"devices": [Meter(gain=2.0)]}, {"devices": [Meter(gain=3.0)]}),
}


@pytest.mark.parametrize(("base", "arguments", "before", "after"), EDITED.values(), ids=EDITED)
def test_what_a_derived_class_gives_its_base_counts_too(base, arguments, before, after):
    description = derived(base, *arguments, **before).describe()
    assert description == derived(base, *arguments, **before).describe()
    assert description != derived(base, *arguments, **after).describe()
    ((key, value),) = before.items()
    if key not in ("device", "devices"):
        words = "; ".join(description.differences(derived(base, *arguments, **after).describe()))
        assert f".{key}: {value:g}, not {after[key]:g}" in words


class Numbered(SoundCard):
    def __init__(self, serial):
        super().__init__(4, 4, stream=Plain(0.0))
        self.serial = serial

    def identify(self):
        return f"card {self.serial}"


class NumberedWrapper(hwloop.Averaged):
    def identify(self):
        return f"amplifier 9 before {self.device.identify()}"


def test_a_derived_class_that_says_who_it_is_is_heard():
    assert Numbered("7").describe().identity == "card 7"
    assert NumberedWrapper(Meter(), 2).describe().identity == "amplifier 9 before …"


def test_what_is_passed_on_to_a_base_stands_once():
    settings = hwloop.open_device("spiking-lif", n_inputs=4, n_neurons=3).describe().settings
    assert not [name for name in settings if "." in name]
    assert settings["tau_membrane_seconds"] == 0.02
