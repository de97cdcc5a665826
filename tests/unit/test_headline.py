"""A run is called and described by what was run; who is better is said in words; notes, tags and who ran it."""

import json

import pytest

import hwloop
from hwloop.experiment import about
from hwloop.experiment.config import load_experiment, validated
from hwloop.experiment.headline import changes_line, named_without_trainer, parts_line
from hwloop.experiment.intervals import Interval
from hwloop.experiment.verdict import NETWORK, Comparison
from hwloop.runs.notes import add_notes, notes_of
from hwloop.tasks import Classification, Metric
from hwloop.toml_text import toml_text

FILE = """
description = "Digits through a fibre"
dataset = "digits"
trainer = "local"
[device]
name = "optical-fibre"
settings = { n_outputs = 100, exposure = 3.0 }
"""


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "digits-optical.toml"
    path.write_text(FILE)
    return path


# Settings, the name, what is left of the description, the changes that are told.
CASES = {
    "as it is": ([], "digits-optical", True, []),
    "more seeds": (["seeds=3"], "digits-optical", True, []),
    "the same again": (["dataset=digits", "device.settings.n_outputs=100"], "digits-optical", True, []),
    "no floors": (["evidence.floors=false"], "digits-optical", True, ["evidence.floors=false"]),
    "a setting": (["device.settings.n_outputs=200"], "digits-optical", False, ["device.settings.n_outputs=200"]),
    "a stage": (["network.stages=3"], "digits-optical", False, ["network.stages=3"]),
    "dataset": (["dataset=vowels"], "vowels-optical-fibre-local", False, ["dataset=vowels"]),
    "device": (["device=delay-loop"], "digits-delay-loop-local", False, ["device=delay-loop"]),
    "two devices": (
        ['device=["delay-loop", "optical-fibre"]', "network.stages=2"],
        "digits-delay-loop-optical-fibre-local",
        False,
        ["device=delay-loop + optical-fibre", "network.stages=2"],
    ),
    "trainer": (["trainer=phyll"], "digits-optical-fibre-phyll", False, ["trainer=phyll"]),
    "a name of one's own": (["trainer=phyll", "name=mine"], "mine", False, ["trainer=phyll"]),
    "words of one's own": (
        ["trainer=phyll", "description=Mine"],
        "digits-optical-fibre-phyll",
        "Mine",
        ["trainer=phyll"],
    ),
    "a file": (
        ['dataset={file = "/data/wine.csv", target = "quality"}'],
        "wine-optical-fibre-local",
        False,
        ["dataset=wine.csv"],
    ),
    "a module": (["device=lab.rigs:Fibre-2"], "digits-lab.rigs-Fibre-2-local", False, ["device=lab.rigs:Fibre-2"]),
}


@pytest.mark.parametrize(("settings", "name", "description", "changes"), CASES.values(), ids=CASES)
def test_name_and_description_are_of_what_is_run(experiment, settings, name, description, changes):
    config = load_experiment(experiment, settings)
    kept = {True: "Digits through a fibre", False: ""}.get(description, description)
    assert (config.name, config.description) == (name, kept)
    assert ([] if config.derived_from is None else config.derived_from.changes) == changes
    assert changes_line(config) == (f"digits-optical with {', '.join(changes)}" if changes else "")


def test_the_headline_names_dataset_devices_and_trainer(experiment):
    assert parts_line(load_experiment(experiment)) == ["digits", "optical-fibre", "local"]
    several = load_experiment(experiment, ['device={name = "optical-fibre", copies = 3}'])
    assert parts_line(several)[1] == "optical-fibre x 3"


@pytest.mark.parametrize(
    ("settings", "name"), [(["dataset=vowels"], "vowels-optical-fibre"), ([], "digits-optical")]
)
def test_a_comparison_of_trainers_is_named_after_none(experiment, settings, name):
    assert named_without_trainer(load_experiment(experiment, settings)).name == name


def test_a_runs_own_file_keeps_what_it_was_made_of_and_adds_to_it(experiment, tmp_path):
    config = load_experiment(experiment, ["dataset=vowels", 'about.tags=["lab"]'])
    again = tmp_path / "run.toml"
    again.write_text(toml_text({**config.as_table(), **config.said_table()}))
    assert load_experiment(again) == config
    more = load_experiment(again, ["network.width=20"])
    assert more.name == "vowels-optical-fibre-local"
    assert more.derived_from.experiment == "digits-optical"
    assert more.derived_from.changes == ["dataset=vowels", "network.width=20"]


POINTS = Classification.metrics[0]
ERROR = Metric("nrmse", "NRMSE", lambda targets, predicted: 0.0, higher_is_better=False)
OUTCOMES = {
    "the network": ((0.024, 0.019, 0.029), NETWORK, "the network is better by 2.4 points (1.9 to 2.9)"),
    "the floor": ((-0.012, -0.021, -0.003), "linear", "it is better than the network by 1.2 points (0.3 to 2.1)"),
    "nobody": (
        (-0.001, -0.01, 0.008),
        None,
        "no difference could be shown (the network is worse by 0.1 points; -0.8 to 1.0)",
    ),
    "nobody, for the test rows": (
        (0.02, 0.01, 0.03, (-0.01, 0.05)),
        None,
        "no difference could be shown (the network is better by 2.0 points; -1.0 to 5.0 of the test rows)",
    ),
    "nobody, for the seeds": (
        (-0.02, -0.06, 0.02, (-0.05, 0.01)),
        None,
        "no difference could be shown (the network is worse by 2.0 points; -2.0 to 6.0 over seeds)",
    ),
    "nobody, for other test rows are not known": (
        (0.02, 0.01, 0.03, None, True),
        None,
        "no difference can be shown, for all seeds share one test part (the network is better by 2.0 points; "
        "1.0 to 3.0 over seeds)",
    ),
    "the same": ((0.0, 0.0, 0.0), None, "the two score alike on every seed"),
    "one seed": (
        (0.05, None, None),
        None,
        "with one seed no difference can be shown (the network is better by 5.0 points)",
    ),
}


@pytest.mark.parametrize(("interval", "winner", "words"), OUTCOMES.values(), ids=OUTCOMES)
def test_who_is_better_is_said_in_words(interval, winner, words):
    found = Comparison("best floor", "linear", "linear softmax, raw inputs", Interval(*interval), POINTS)
    assert found.winner == winner
    assert found.words == f"best floor: linear softmax, raw inputs; {words}"
    assert json.loads(json.dumps(found.as_json()))["winner"] == winner


def test_a_score_without_a_unit_has_none_in_words():
    found = Comparison("best floor", "mean", "the mean", Interval(0.1, 0.05, 0.15), ERROR)
    assert found.words == "best floor: the mean; the network is better by 0.100 (0.050 to 0.150)"


SMALL = {"name": "x", "dataset": "digits", "device": "optical-fibre", "trainer": "local"}


@pytest.mark.parametrize(
    ("told", "variable", "expected"),
    [("Ada", "Bob", "Ada"), ("", "Bob", ""), (None, "Bob", "Bob"), (None, "", ""), (None, None, "me@here")],
)
def test_who_runs_it_can_be_told_and_left_out(monkeypatch, told, variable, expected):
    monkeypatch.setattr(about.getpass, "getuser", lambda: "me")
    monkeypatch.setattr(about.platform, "node", lambda: "here")
    monkeypatch.delenv(about.OPERATOR, raising=False)
    if variable is not None:
        monkeypatch.setenv(about.OPERATOR, variable)
    config = validated({**SMALL, "about": {} if told is None else {"operator": told}}, "x")
    assert about.operator_of(config) == expected


def test_an_account_without_a_name_is_its_number(monkeypatch):
    monkeypatch.delenv(about.OPERATOR, raising=False)
    monkeypatch.setattr(about.getpass, "getuser", lambda: (_ for _ in ()).throw(KeyError("uid not found")))
    assert about.operator_of(validated(SMALL, "x")).partition("@")[0].isdigit()


class TestNotes:
    @pytest.fixture(autouse=True)
    def run(self, make_run, tmp_path):
        self.folder = make_run(tmp_path / "run")
        (self.folder / "run.toml").write_text('[about]\nnotes = ["first"]\ntags = ["lab"]\n')

    def test_those_of_the_beginning_and_those_that_were_added(self):
        assert notes_of(self.folder) == (["first"], ["lab"])
        add_notes(self.folder, ["the cable was loose\n"], ["bad", "lab"])
        add_notes(self.folder, [], ["later"])
        assert notes_of(self.folder) == (["first", "the cable was loose"], ["lab", "bad", "later"])

    @pytest.mark.parametrize("text", ["", "\x00\xff\n{}\n[1]\n", '{"note": 3, "tag": ["x"]}\n'])
    def test_a_damaged_file_says_nothing(self, text):
        (self.folder / "notes.jsonl").write_text(text, encoding="latin-1")
        assert notes_of(self.folder) == (["first"], ["lab"])

    @pytest.mark.parametrize(("notes", "tags"), [([" "], []), ([], ["two words"]), ([], ["a,b"]), ([], [""])])
    def test_what_is_none_is_refused(self, notes, tags):
        with pytest.raises(hwloop.ConfigError):
            add_notes(self.folder, notes, tags)
        assert not (self.folder / "notes.jsonl").exists()

    def test_a_folder_without_a_run_is_refused(self, tmp_path):
        with pytest.raises(hwloop.ConfigError, match="does not exist"):
            add_notes(tmp_path / "absent", ["x"], [])


def test_a_tag_in_a_file_is_checked():
    with pytest.raises(hwloop.ConfigError, match=r"about\.tags"):
        validated({**SMALL, "about": {"tags": ["two words"]}}, "x")
