"""Series of other packages and of published equations: lengths, ranges, classes and first values as published."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from hwloop.errors import DatasetError
from hwloop.experiments import packaged_series
from hwloop.experiments.chaotic_series import neurobench_mackey_glass, smape
from hwloop.experiments.dataset import split
from hwloop.experiments.packaged_series import AEON, RESERVOIRPY, read_ts, santa_fe_laser
from hwloop.experiments.time_series import narma
from hwloop.registry import DATASETS

# Dataset, its package, rows, classes, rows of each class to train on, and of the test set: UEA and UCR archive.
PUBLISHED = {
    "japanese-vowels": (640, 29, [30] * 9, [31, 35, 88, 44, 29, 24, 40, 50, 29]),
    "basic-motions": (80, 100, [10] * 4, [10] * 4),
    "gun-point": (200, 150, [24, 26], [76, 74]),
}


def needs(package):
    if find_spec(package) is None:
        pytest.skip(f"needs {package}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_and_classes_are_the_archives(name):
    needs("aeon")
    rows, steps, train, test = PUBLISHED[name]
    made = DATASETS.load(name)()
    parts = split(made, 3, 0.2, 0.1)
    assert len(made.labels) == rows
    assert made.inputs.shape[1] % steps == 0
    assert np.bincount(made.labels[parts.test]).tolist() == test
    assert np.bincount(np.delete(made.labels, parts.test)).tolist() == train
    assert "aeon" not in sys.modules


def test_utterances_are_stretched_between_their_ends():
    needs("aeon")
    shorter, whole = (
        DATASETS.load("japanese-vowels")(steps=steps).inputs.reshape(640, steps, 12) for steps in (9, 29)
    )
    assert whole[0, 0, 0] == 1.860936
    assert whole[0, -1, 0] == 1.261441
    np.testing.assert_array_equal(shorter[:, [0, -1]], whole[:, [0, -1]])
    assert -1.852765 <= whole.min() < whole.max() <= 2.203141  # those of the files


def test_channels_of_a_step_stand_side_by_side():
    needs("aeon")
    motions = DATASETS.load("basic-motions")().inputs.reshape(80, 100, 6)
    assert motions[0, :4, 0].tolist() == [0.079106, 0.079106, -0.903497, 1.116125]
    assert DATASETS.load("gun-point")().inputs[0, :2].tolist() == [-0.6478854, -0.64199155]


def test_the_laser_is_the_competitions_series_in_time():
    needs("reservoirpy")
    series = santa_fe_laser()
    assert series.shape == (10_093,)
    assert (series.min(), series.max()) == (0, 255)
    assert series[:6].tolist() == [86, 141, 95, 41, 22, 21]
    made = DATASETS.load("santa-fe")(values=1200, steps=100, ahead=3)
    np.testing.assert_array_equal(made.inputs.ravel(), series[:1100])
    np.testing.assert_array_equal(made.targets.ravel(), series[3:1103])
    parts = split(made, 0, 0.3, 0.2)
    assert parts.train.max() < parts.validation.min()
    assert parts.validation.max() < parts.test.min()
    with pytest.raises(DatasetError, match="10,093"):
        DATASETS.load("santa-fe")(values=20_000)


@pytest.mark.parametrize(
    ("name", "package", "command"), [("santa-fe", "reservoirpy", RESERVOIRPY), ("gun-point", "aeon", AEON)]
)
def test_a_missing_package_is_one_line_with_its_command(monkeypatch, name, package, command):
    monkeypatch.setattr(packaged_series, "find_spec", lambda _: None)
    with pytest.raises(DatasetError) as caught:
        DATASETS.load(name)()
    assert package in str(caught.value)
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "@data\n", "@data\n1,2:3:a\n", "@data\n1,x:a\n", "@data\n1,nan:a\n", "@data\n1,2\n", "@data\n:a\n"],
)
def test_a_file_that_is_no_series_is_refused(tmp_path, text):
    (tmp_path / "x.ts").write_text(text)
    with pytest.raises(DatasetError, match=r"x\.ts"):
        read_ts(tmp_path / "x.ts")


def test_narma_of_every_order_is_its_recursion():
    for order in (2, 5, 10):
        inputs, targets = narma(order, 2, 300, seed=4)
        u, y, t = inputs[1, :, 0], targets[1, :, 0], np.arange(20, 300)
        if order == 2:
            expected = 0.4 * y[t - 1] + 0.4 * y[t - 1] * y[t - 2] + 0.6 * u[t] ** 3 + 0.1
        else:
            recent = sum(y[t - 1 - i] for i in range(order))
            expected = 0.3 * y[t - 1] + 0.05 * y[t - 1] * recent + 1.5 * u[t - order + 1] * u[t] + 0.1
        np.testing.assert_allclose(y[t], expected, rtol=1e-12)
        assert u.min() >= 0
        assert 0.45 < u.max() <= 0.5
    with pytest.raises(DatasetError, match="2, 5 or 10"):
        narma(7, 1, 10)


def test_mackey_glass_at_neurobenchs_constants_is_what_an_ode_solver_gives():
    """By the method of steps: within one delay the equation is an ordinary one, here solved by scipy."""
    spacing, delay = 197 / 75, 17.0
    past, values = (lambda t: 0.7206597), {}
    x0 = 0.7206597
    for piece in range(6):
        start = piece * delay
        solved = solve_ivp(
            lambda t, x, past=past, start=start: 0.2 * past(t - delay) / (1 + past(t - delay) ** 10) - 0.1 * x,
            (start, start + delay),
            [x0],
            rtol=1e-10,
            atol=1e-12,
            dense_output=True,
            max_step=0.5,
        )
        for k in range(40):
            if start <= k * spacing <= start + delay:
                values[k] = solved.sol(k * spacing)[0]
        x0, dense = solved.y[0, -1], solved.sol
        past = lambda t, dense=dense: dense(t)[0]  # noqa: E731
    known = np.array([values[k] for k in range(len(values))])
    found = neurobench_mackey_glass(600)
    assert len(known) > 35
    np.testing.assert_allclose(found[: len(known)], known, atol=1e-5)
    np.testing.assert_array_equal(neurobench_mackey_glass(50, 37), found[37:87])
    assert 0.4 < found.min() < 0.45
    assert 1.3 < found.max() < 1.35


def test_neurobenchs_error_is_symmetric_and_bounded():
    assert smape(np.array([1.0, 2.0]), np.array([3.0, 2.0])) == pytest.approx(200 * (2 / 4) / 2)
    assert smape(np.array([3.0, 0.0]), np.array([1.0, 0.0])) == pytest.approx(50.0)
    assert smape(np.ones(3), np.array([1.0, np.nan, np.inf])) == 200.0
    assert smape(np.ones(2), np.full(2, -5.0)) == 200.0  # opposite signs are as wrong as can be
    with pytest.raises(ValueError, match="shape"):
        smape(np.ones(2), np.ones(3))
