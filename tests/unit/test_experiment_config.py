"""Experiment files: what is accepted, and one clear line for what is not."""

import contextlib
import copy
import tomllib

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from hwloop.errors import ConfigError
from hwloop.experiment.config import load_experiment, validated
from hwloop.experiments.datasets import experiment_file
from hwloop.toml_text import parse_setting, toml_text, with_overrides

TABLE = {
    "name": "small",
    "dataset": {"name": "digits"},
    "device": {"name": "optical-fibre", "settings": {"n_outputs": 50}},
    "trainer": {"name": "local", "settings": {"epochs": 3}},
    "seeds": 2,
}

text = st.text(max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    [
        "name",
        "dataset",
        "device",
        "trainer",
        "network",
        "split",
        "seeds",
        "budget",
        "evidence",
        "settings",
        "0",
        "x",
    ]
)


def configured(*changes):
    return validated(with_overrides(TABLE, changes), "small.toml")


def test_defaults_are_written_out_and_seeds_counted():
    config = configured()
    assert config.seeds == [0, 1]
    assert (config.network.stages, config.network.width, config.network.activation) == (2, 100, "none")
    assert config.as_table()["split"] == {"test": 0.25, "validation": 0.0}


def test_bare_names_are_parts():
    config = validated({**TABLE, "trainer": "phyll", "device": "optical-fibre"}, "x")
    assert (config.trainer.name, config.trainer.settings) == ("phyll", {})


def test_a_setting_deep_in_a_table():
    assert configured("device.settings.n_outputs=200").device[0].settings == {"n_outputs": 200}


def test_a_device_file_takes_the_place_of_name_and_settings():
    device = configured("device=calibrated.toml").device[0]
    assert (device.name, device.settings) == ("calibrated.toml", {})


def test_another_trainer_comes_with_its_own_defaults_and_the_settings_given_beside_it():
    trainer = configured("trainer.settings.theta=2.0", "trainer=phyll").trainer
    assert (trainer.name, trainer.settings) == ("phyll", {"theta": 2.0})


def test_the_same_trainer_keeps_its_settings():
    assert configured("trainer=local").trainer.settings == {"epochs": 3}


def test_a_value_that_is_no_toml_is_text():
    assert parse_setting("description=two words") == (("description",), "two words")
    assert parse_setting("name=a\nbudget=3") == (("name",), "a\nbudget=3")
    assert parse_setting("seeds=[3, 5]") == (("seeds",), [3, 5])


def test_one_device_of_a_list():
    table = {**TABLE, "device": [{"name": "a"}, {"name": "b"}]}
    config = validated(with_overrides(table, ["device.1.settings.gain=2"]), "x")
    assert [part.settings for part in config.device] == [{}, {"gain": 2}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("network.widht=3", "'network.widht': did you mean 'width'"),
        ("device.setings.x=1", "'device.setings': did you mean 'settings'"),
        ("trainr=local", "'trainr': did you mean 'trainer'"),
        ("network.stages=0", "network.stages: should be greater than or equal to 1, not 0"),
        ("network.stages=true", "network.stages: should be a valid integer"),
        ("network.activation=tanh", "should be 'none' or 'relu'"),
        ("seeds=0", "number of seeds must be 1 to 1000"),
        ("seeds=[1,1]", "different seeds"),
        ("seeds=[-1]", "seeds.0: should be greater than or equal to 0"),
        ("split.test=1.0", "split.test: should be less than 1"),
        ("split.validation=0.8", "together take 1.05"),
        ("budget=0", "budget: should be greater"),
        ("name=../up", "name: String should match"),
        ("device=[]", "0 devices for 2 stages"),
        ("trainer.settings.start=2024-01-01", "trainer.settings.start"),
        ("seeds.x=1", "--set seeds: this is 2, no table"),
        ("noequals", "is no key=value"),
        ("a..b=1", "is no key=value"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_place(change, message):
    with pytest.raises(ConfigError) as caught:
        configured(change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="'trainer' is missing"):
        validated({key: value for key, value in TABLE.items() if key != "trainer"}, "x")


def test_overrides_leave_the_table_alone():
    before = copy.deepcopy(TABLE)
    with_overrides(TABLE, ["device.settings.n_outputs=7", "trainer=phyll"])
    assert before == TABLE


def test_a_file_round_trips_and_finds_its_device_beside_it(tmp_path):
    (tmp_path / "rig.toml").write_text('device = "optical-fibre"\n')
    path = tmp_path / "mine.toml"
    path.write_text('dataset = "digits"\ntrainer = "local"\n[device]\nname = "rig.toml"\n')
    config = load_experiment(path)
    assert config.name == "mine"
    assert config.device[0].name == str(tmp_path / "rig.toml")
    (tmp_path / "again.toml").write_text(toml_text(config.as_table()), encoding="utf-8")
    assert load_experiment(tmp_path / "again.toml") == config


@pytest.mark.parametrize("content", ["", "x = ", "= 3", "[device", "\x00"])
def test_a_broken_file_is_a_config_error(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_experiment(path)


@examples(200)
@given(st.lists(text | st.tuples(st.lists(keys, max_size=4).map(".".join), text).map("=".join), max_size=4))
def test_no_setting_crashes_with_anything_but_a_config_error(changes):
    with contextlib.suppress(ConfigError):
        configured(*changes)


@examples(200)
@given(st.dictionaries(keys, plain, max_size=6))
def test_no_table_crashes_with_anything_but_a_config_error(changes):
    with contextlib.suppress(ConfigError):
        validated({**TABLE, **changes}, "x")


@given(st.sampled_from(["[" * 5000, "9" * 5000, "{" * 3000, "1_0", "nan"]))
def test_extreme_values_do_not_crash(value):
    parse_setting(f"trainer.settings.x={value}")


toml_plain = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(text, toml_plain, max_size=4))
def test_what_is_written_as_toml_reads_back_the_same(table):
    assert tomllib.loads(toml_text(table)) == table


def test_a_mistake_in_a_setting_is_said_beside_the_setting():
    with pytest.raises(ConfigError, match=r"digits-optical\.toml with network\.widht=3: unknown key"):
        load_experiment(experiment_file("digits-optical"), ["network.widht=3"])
    with pytest.raises(ConfigError, match=r"digits-optical\.toml with seeds=0: seeds: the number of seeds"):
        load_experiment(experiment_file("digits-optical"), ['dataset={ file = "long.csv" }', "seeds=0", "name=x"])
