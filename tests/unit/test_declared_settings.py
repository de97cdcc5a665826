"""What a user's own subclass of a substrate may declare, and what is said where it may not."""

import re
from typing import ClassVar, Final

import numpy as np
import pytest

from hwloop.device.declared import noise, real
from hwloop.simulators.optical_fibre import OpticalFibre
from hwloop.simulators.substrate import Camera, Substrate

SMALL = {"n_inputs": 4, "n_outputs": 3}


class Lab(OpticalFibre):
    """Has a constructor of its own."""

    def __init__(self, seed=7):
        super().__init__(**SMALL, seed=seed)
        self.opened_by = "the laboratory"


class Mixin:
    """Knows nothing of devices."""

    label = "rack 3"


def subclass(base, annotations, **values):
    """A subclass whose body has these annotations and values."""
    bases = base if isinstance(base, tuple) else (base,)
    return type(bases[0])("Mine", bases, {"__module__": __name__, "__annotations__": annotations, **values})


def test_a_handwritten_constructor_also_builds_what_derives_from_it():
    for derived in (subclass(Lab, {}), subclass(subclass(Lab, {}), {}), subclass((Mixin, Lab), {})):
        device = derived()
        assert (device.seed, device.spec.n_inputs, device.opened_by) == (7, 4, "the laboratory")
        assert derived(seed=2).describe().settings["seed"] == 2
        assert "seed=7" in device.identify()


def test_a_constructor_of_a_mixin_is_called():
    class Counted:
        def __init__(self, **settings):
            super().__init__(**settings)
            self.counted = True

    assert subclass((Counted, OpticalFibre), {})(**SMALL).counted


def test_a_plain_class_may_stand_before_the_substrate_or_behind_it():
    plain = subclass(OpticalFibre, {})(**SMALL)
    for bases in ((Mixin, OpticalFibre), (OpticalFibre, Mixin)):
        device = subclass(bases, {})(**SMALL)
        assert device.describe().digest() == plain.describe().digest()
        assert device.label == "rack 3"


def test_a_class_has_the_settings_of_all_its_bases():
    lossy = subclass(OpticalFibre, {"loss": float}, loss=real(0.5, 0, 1))
    bent = subclass(OpticalFibre, {"bend": float}, bend=real(0.1, 0, 1))
    device = subclass((lossy, bent), {})(**SMALL, bend=0.2)
    assert (device.loss, device.bend) == (0.5, 0.2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("vendor", ClassVar[str]),
        ("vendor", ClassVar),
        ("vendor", Final),
        ("vendor", Final[str]),
        ("vendor", "ClassVar[str]"),
        ("vendor", "typing.ClassVar[str]"),
        ("vendor", "t.Final"),
        ("vendor", "'Final[str]'"),
        ("reproducible", bool),
        ("simulated", bool),
        ("block_rows", int),
        ("rows_together", "int | None"),
        ("stream_prefix", str),
        ("rows_measured", int),
        ("spec", str),
    ],
)
def test_what_is_the_class_s_is_no_setting(name, hint):
    value = getattr(OpticalFibre, name, "x")
    mine = subclass(OpticalFibre, {name: hint}, **{name: value})
    assert list(mine.declarations.settings) == list(OpticalFibre.declarations.settings)
    assert mine(**SMALL).describe().digest() == subclass(OpticalFibre, {})(**SMALL).describe().digest()


def test_names_that_only_begin_like_a_class_variable_are_settings():
    mine = subclass(OpticalFibre, {"rest": "Finals", "more": "list[Final]"}, rest=1, more=None)
    assert {"rest", "more"} <= set(mine.declarations.settings)


@pytest.mark.parametrize("declared", [3.0, noise(3.0, quiet=1.0)])
def test_another_default_keeps_the_check(declared):
    mine = subclass(OpticalFibre, {"exposure": float}, exposure=declared)
    assert mine(**SMALL).exposure == 3.0
    with pytest.raises(ValueError, match=r"exposure must be at least 1e-09, not -1"):
        mine(**SMALL, exposure=-1)


@pytest.mark.parametrize("declared", [0.3, real(0.3, 0, 1)])
@pytest.mark.parametrize("name", ["read_noise", "drift_per_row"])
def test_another_default_keeps_the_quiet_value(name, declared):
    mine = subclass(OpticalFibre, {name: float}, **{name: declared})
    assert mine(**SMALL).describe().settings[name] == 0.3
    assert mine(**SMALL).noiseless().describe().settings[name] == 0
    group = subclass(Camera, {"read_noise": float}, read_noise=0.3)
    assert group.declared["read_noise"].quiet == 0.0


def test_another_default_counts_beside_a_group_of_a_shared_base():
    class Imaging(Substrate, shared=True):
        camera: Camera = Camera()

    mine = subclass(Imaging, {"read_noise": float}, read_noise=0.3)
    assert mine.declarations.settings["read_noise"].default == 0.3


def test_none_stays_allowed_where_the_base_class_has_it_as_default():
    base = subclass(OpticalFibre, {"bend": float}, bend=real(None, 0, 1))
    mine = subclass(base, {"bend": float}, bend=0.5)
    assert mine(**SMALL, bend=None).bend is None
    with pytest.raises(ValueError, match="bend must be at most 1"):
        mine(**SMALL, bend=2)


def write_init(self, label="a", **settings):
    OpticalFibre.__init__(self, **settings)
    self.label = label


@pytest.mark.parametrize(
    ("base", "body", "said"),
    [
        (Lab, {"loss": real(0.5, 0, 1)}, "declares the settings loss, but Lab.__init__ is written by hand"),
        (Lab, {"loss": 0.5, "seed": 3}, "declares the settings loss, seed, but Lab.__init__ is written by hand"),
        (OpticalFibre, {"loss": real(0.5), "__init__": write_init}, "loss, but Mine.__init__ is written by hand"),
        (OpticalFibre, {"seed": 3, "__init__": write_init}, "seed, but Mine.__init__ is written by hand"),
        (OpticalFibre, {"taps": [0.5]}, "the default of taps is a list, which all objects would share"),
        (OpticalFibre, {"taps": {}}, "the default of taps is a dict"),
        (OpticalFibre, {"taps": {1}}, "the default of taps is a set"),
        (OpticalFibre, {"taps": noise(np.zeros(2))}, "the default of taps is a ndarray"),
        (Camera, {"taps": [0.5]}, "the default of taps is a list"),
        (OpticalFibre, {"spec": real(0.5)}, "its base class has an attribute of that name"),
        (Camera, {"without": noise()}, "its base class has an attribute of that name"),
    ],
)
def test_what_no_constructor_could_take_is_refused_with_the_class(base, body, said):
    names = [name for name in body if name != "__init__"]
    with pytest.raises(TypeError, match=re.escape(said)):
        subclass(base, dict.fromkeys(names, float), **body)


def test_beside_a_handwritten_constructor_a_plain_value_is_an_attribute():
    mine = subclass(OpticalFibre, {"loss": float}, loss=0.5, __init__=write_init)
    device = mine(label="b", **SMALL)
    assert (device.loss, device.label) == (0.5, "b")
    assert "loss" not in mine.declarations.settings


def test_a_default_without_an_annotation_counts_too():
    changed = subclass(OpticalFibre, {}, read_noise=0.25)
    assert changed(**SMALL).read_noise == changed(**SMALL).describe().settings["read_noise"] == 0.25
    assert changed(**SMALL, read_noise=0.0).read_noise == 0.0
    with pytest.raises(TypeError, match=r"Mine declares the settings seed, but Lab\.__init__ is written by hand"):
        subclass(Lab, {}, seed=3)


def test_a_handwritten_constructor_that_nobody_would_call_is_refused():
    other = subclass(OpticalFibre, {})
    with pytest.raises(TypeError, match=r"derives from Mine and Lab, whose constructor .* name Lab first"):
        subclass((other, Lab), {})
    assert subclass((Lab, other), {})().opened_by == "the laboratory"
