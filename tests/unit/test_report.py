"""The report: self-contained, complete, and safe with any text in it."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from hwloop.device import DeviceSpec
from hwloop.experiment.about import About
from hwloop.experiment.columns import COLUMNS, Score
from hwloop.experiment.config import validated
from hwloop.experiment.evidence import Evidence
from hwloop.experiment.report import write_report
from hwloop.experiment.results import (
    NETWORK,
    DeviceResponse,
    SeedResult,
    Sweep,
    effective_rank,
    sweep_stimuli,
)
from hwloop.tasks import Classification
from hwloop.training.history import Sparsity

TASK = Classification.named(("a", "b"))
SPEC = DeviceSpec(
    n_inputs=4, n_outputs=3, input_low=-2.0, input_high=np.array([1.0, 2.0, 3.0, 4.0]), output_unit="V"
)


class Resources(HTMLParser):
    """Collects whatever a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.images = 0

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img"
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset")]


def written(tmp_path, floors=True, description="", seeds=2, about=None, **entries):
    rng = np.random.default_rng(0)
    methods = ("network", "linear", "null_zeros", "null_identity", "one_stage_readout", "backprop")
    config = validated(
        {
            "name": "small",
            "description": description,
            "dataset": "d",
            "device": "<b>",
            "trainer": "t",
            "seeds": seeds,
            **entries,
        },
        "x",
    )
    results = tuple(
        SeedResult(
            seed=seed,
            n_train=10,
            n_validation=0,
            n_test=4,
            scores={
                m: Score({"accuracy": 0.5 + 0.01 * seed} | {column.key: 100 for column in COLUMNS})
                for m in (methods if floors else (NETWORK,))
            },
            rows={"train": 20},
            recalled={"train": 0},
            reused={},
            floor_rows=0,
            busy_seconds=0.1,
            measuring_seconds=None,
            details={"confusion": np.array([[2, 0], [1, 1]])},
            losses=[[1.0, 0.5], []],
            validation_scores=[None, None],
            digital_seconds=0.1,
            wall_seconds=0.2,
            sparsity=[Sparsity(0.25 * (1 + seed), 0.5), None],
            notes=["all 3 features are <constant>", *(["the loss rose"] if seed == 1 else [])],
        )
        for seed in config.seeds
    )
    responses = [
        DeviceResponse(SPEC, "rig 7", rng.random((20, 3)), Sweep(np.linspace(-1, 1, 5), rng.random((5, 3)))),
        DeviceResponse(SPEC, "rig 8", None, None),
    ]
    path = write_report(Evidence(config, results, 1.0, str(tmp_path), about), responses, TASK, tmp_path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report's folder and text."""
    folder = tmp_path_factory.mktemp("report")
    return folder, written(folder, description="<script>alert(1)</script>")


def test_it_fetches_nothing_and_shows_every_figure(page):
    folder, html = page
    resources = Resources()
    resources.feed(html)
    assert all(source.startswith("data:image/png;base64,") for source in resources.found)
    assert resources.images == 5  # accuracy, its price, training, confusion, one device's responses
    assert not re.search(r"url\(|@import|<script|<link", html)
    assert {path.name for path in (folder / "plots").iterdir()} == {
        "accuracy.png",
        "multiply_adds.png",
        "training.png",
        "confusion.png",
        "response-1.png",
    }


def test_it_says_what_matters(page):
    for said in (
        "50.5 ± 0.7 %",
        "linear interface",
        "rows a<br>training sample",
        "physics adds",
        "rig 7",
        "rig 8",
    ):
        assert said in page[1]


def test_text_from_a_configuration_is_escaped(page):
    assert "<script>" not in page[1]
    assert "&lt;script&gt;" in page[1]


@pytest.mark.usefixtures("unpainted_figures")
def test_one_seed_without_floors_renders(tmp_path):
    html = written(tmp_path, floors=False, seeds=1)
    assert "50.0 %" in html
    assert "physics adds" not in html


def test_sparsity_is_the_mean_over_seeds_where_a_stage_has_one(page):
    table = page[1].partition("<h2>Sparsity</h2>")[2].partition("</table>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", table)
    assert cells == ["1", "0.38", "50 %"]


def test_a_sweep_stays_within_limits_and_passes_through_the_middle():
    position, stimuli = sweep_stimuli(SPEC, 21, seed=3)
    assert (stimuli >= SPEC.low).all()
    assert (stimuli <= SPEC.high).all()
    np.testing.assert_allclose(stimuli[10], (SPEC.low + SPEC.high) / 2)
    share = np.abs(stimuli[-1] - stimuli[0]) / (SPEC.high - SPEC.low)
    assert share.max() == 1.0  # one channel runs through its whole range
    assert position[0] == -1.0


def test_effective_rank_counts_equal_directions():
    basis = np.vstack([np.eye(6), -np.eye(6)])
    assert abs(effective_rank(basis[:, :4]) - 4.0) < 1e-9
    assert abs(effective_rank(np.outer(np.arange(5.0), np.ones(3))) - 1.0) < 1e-9
    assert effective_rank(np.ones((4, 3))) == 0.0


def test_notes_are_told_once_and_whose_they_are(page):
    text = page[1]
    assert text.count("all 3 features are &lt;constant&gt;</li>") == 1
    assert "the loss rose (seed 1)</li>" in text


def test_it_says_what_was_run_when_by_whom_and_what_was_noted(tmp_path, unpainted_figures):
    about = About(1.8e9, 1.8e9 + 3700, 1, "ada@lab", ("the <lid> was open",), ("night",))
    made = {"experiment": "digits-optical", "changes": ["dataset=d"]}
    html = written(tmp_path, about=about, derived_from=made)
    for said in (
        "dataset d · device &lt;b&gt; · trainer t",
        "Made from digits-optical with dataset=d",
        "61 min 40 s from beginning to end, resumed once · ada@lab",
        "<b>night</b>",
        "the &lt;lid&gt; was open",
        "Best floor: linear softmax, raw inputs; the two score alike on every seed.",
    ):
        assert said in html


def test_without_floors_it_claims_nothing_of_them(tmp_path, unpainted_figures):
    html = written(tmp_path, floors=False)
    assert "No floors were run: what the physics is worth is not known." in html
    assert "Every method" not in html
    assert "Null physics" not in html
