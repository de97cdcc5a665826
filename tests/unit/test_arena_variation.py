"""--vary: which values a text means, and one arena a value in one table."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.errors import ConfigError
from hwloop.experiment import columns as words
from hwloop.experiment.config import validated
from hwloop.experiments.arena.report import SHOWN_REFERENCES
from hwloop.experiments.arena.settings import ArenaSettings
from hwloop.experiments.arena.variation import DASHES, Variation, parsed_variation, run_variation, write_variation
from hwloop.tasks import Classification
from hwloop.toml_text import parse_setting, with_overrides

ACCURACY = Classification.metrics[0]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("device.settings.dac_bits=2,4,10", ("2", "4", "10")),
        ("network.weights=binary, ternary,float", ("binary", "ternary", "float")),
        ("device.settings.shape=[1, 2],[3, 4]", ("[1, 2]", "[3, 4]")),
        ('trainer.settings.kind="a,b",c', ('"a,b"', "c")),
        ("network.weights=dorefa:2,dorefa:4", ("dorefa:2", "dorefa:4")),
    ],
)
def test_values_are_parted_at_commas_but_not_within_one(text, values):
    assert parsed_variation(text).values == values


@pytest.mark.parametrize("text", ["", "a", "a=", "a=1", "=1,2", "a=1,,2", "a=1,1", "a..b=1,2", "a=1,2,"])
def test_what_varies_nothing_is_refused(text):
    with pytest.raises(ConfigError, match="--vary"):
        parsed_variation(text)


@given(st.lists(st.integers(-50, 50) | st.floats(-1e3, 1e3), min_size=2, max_size=6, unique_by=repr))
def test_numbers_come_back_as_they_were_and_have_places(numbers):
    variation = parsed_variation("a.b=" + ",".join(map(repr, numbers)))
    assert [parse_setting(setting)[1] for setting in variation.settings] == numbers
    assert variation.is_numeric


@given(st.text(max_size=40))
def test_any_text_is_a_variation_or_refused(text):
    try:
        variation = parsed_variation(text)
    except ConfigError:
        return
    assert len(set(map(variation.folder, variation.values))) == len(variation.values) >= 2
    assert not any("/" in variation.folder(value) for value in variation.values)


def test_words_and_truth_values_are_no_numbers():
    assert not Variation("network.weights", ("binary", "2")).is_numeric
    assert not Variation("network.bypass", ("true", "false")).is_numeric


SMALL = {
    "name": "small",
    "dataset": "digits",
    "device": {"name": "optical-fibre", "settings": {"n_outputs": 60}},
    "trainer": "local",
    "network": {"width": 20, "stages": 1},
    "split": {"validation": 0.2},
    "seeds": 2,
}


def small_arena(setting):
    table = with_overrides(SMALL, [setting])
    return ArenaSettings(validated(table, "test"), ("readout",), (1,), trials=1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("network.stages=1,0", "stages"),
        ("device.settings.adc_bits=8,99", "bits must be at most 24, not 99"),
        ("device.settings.adc_bit=1,8", "no setting 'adc_bit': did you mean 'adc_bits'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_before_the_first_is_run(text, reason, tmp_path):
    with pytest.raises(ConfigError, match=reason):
        run_variation(parsed_variation(text), small_arena, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_every_reference_that_is_drawn_has_a_line_style_of_its_own():
    assert len(set(DASHES)) == len(DASHES) == len(SHOWN_REFERENCES)


@pytest.mark.slow
def test_converters_of_one_bit_lose_to_converters_of_eight_in_one_table(tmp_path):
    variation = parsed_variation("device.settings.adc_bits=1,8")
    found = run_variation(variation, small_arena, tmp_path)
    page = write_variation(variation, found, tmp_path).read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert (tmp_path / "variation.png").read_bytes().startswith(b"\x89PNG")
    for value in variation.values:
        assert f'<a href="device.settings.adc_bits%3D{value}/report.html">{value}</a>' in page
        assert words.shown(ACCURACY, found[value].entries[0].score) in page
    means = [found[value].entries[0].score.mean for value in variation.values]
    assert means[0] < means[1] - 0.02
    table = (tmp_path / "table.md").read_text()
    assert table.startswith("| device.settings.adc_bits | 1 | 8 |")
    assert "| readout at 1 rows a sample | " in table
    assert (tmp_path / "device.settings.adc_bits=8" / "report.html").is_file()
    assert set(json.loads((tmp_path / "variation-result.json").read_text())["arenas"]) == {"1", "8"}

    again = run_variation(variation, small_arena, tmp_path)  # goes on: nothing is left to run
    assert again["8"].as_json() == found["8"].as_json()
