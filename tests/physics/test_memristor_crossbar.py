"""The crossbar against circuit theory and against what is known of memristors: writing, wear, creep."""

from contextlib import closing

import numpy as np
import pytest
from scipy import stats

import hwloop
from hwloop.journal import DiskJournal, InMemoryJournal, ReadOnlyJournal
from hwloop.simulators.crossbar.crossbar import MemristorCrossbar
from hwloop.simulators.crossbar.wires import Wires

LOW, HIGH = 1e-6, 1e-4
IDEAL = {"dac_bits": None, "adc_bits": None, "read_noise": 0.0, "write_noise": 0.0, "saturation": "hard"}
SMALL = {**IDEAL, "n_inputs": 6, "n_outputs": 4}


def crossbar(**settings):
    return MemristorCrossbar(**{**SMALL, "exposure": 0.1, **settings})


def voltages(device, rows=5):
    return np.random.default_rng(0).uniform(-0.2, 0.2, (rows, device.spec.n_inputs))


@pytest.mark.parametrize("columns", ["pairs", "reference"])
def test_currents_are_sums_of_conductance_times_voltage(columns):
    device = crossbar(columns=columns)
    rows, scale = voltages(device), device._full_scale
    asked = np.random.default_rng(1).uniform(LOW, HIGH, (len(device.spec.tunables), 4, 6))
    with device:
        device.tune(asked.ravel())
        other = asked[1] if columns == "pairs" else (LOW + HIGH) / 2
        np.testing.assert_allclose(
            device.measure(rows) * scale, rows @ (asked[0] - other).T, rtol=1e-4, atol=1e-10
        )


def test_a_typical_stimulus_reads_the_exposure_at_rest():
    for columns in ("pairs", "reference"):
        found = []
        for seed in range(4):
            device = crossbar(n_inputs=60, n_outputs=50, columns=columns, seed=seed)
            rows = np.random.default_rng(seed).normal(size=(20, 60)) * 0.2 * np.sqrt(1 / 5) * 0.5
            found.append(device.measure(np.clip(rows, -0.2, 0.2)).std())
        assert np.mean(found) == pytest.approx(0.1 * 0.5, rel=0.1)


def test_one_cell_and_its_wires_are_resistances_in_series():
    transfer = Wires(1e3).transfer(np.array([[1e-4]]))
    assert transfer[0, 0] == pytest.approx(1 / (1e4 + 2e3))


def test_all_current_that_goes_in_comes_out_and_wires_only_lose():
    conductances = np.random.default_rng(0).uniform(LOW, HIGH, (5, 3))
    wires = Wires(500.0)
    transfer = wires.transfer(conductances)
    driven, _ = wires._voltages(conductances)
    entering = (1 - driven.reshape(5, 2, 5, 3)[np.arange(5), 0, np.arange(5), 0]) / 500.0
    # Other rows' ends are at 0 V: what comes out there belongs to the balance.
    ends = driven.reshape(5, 2, 5, 3)[:, 0, :, 0] / 500.0
    leaving = transfer.sum(axis=1) + ends.sum(axis=1) - ends[np.arange(5), np.arange(5)]
    np.testing.assert_allclose(entering, leaving, rtol=1e-9)
    assert transfer.sum() < conductances.sum()
    np.testing.assert_allclose(Wires(1e-3).transfer(conductances), conductances, rtol=1e-4)


def test_writing_leaves_its_noise_and_a_verify_loop_less():
    plain, verified = (
        crossbar(n_inputs=50, n_outputs=20, write_noise=0.02, verify_pulses=pulses, verify_tolerance=0.01)
        for pulses in (1, 60)
    )
    middle = np.full(plain.spec.n_tunables, (LOW + HIGH) / 2)
    off = {}
    for device in (plain, verified):
        device.tune(middle)
        off[device.cells.verify_pulses] = (device.conductances() - middle[0]) / (HIGH - LOW)
    assert off[1].std() == pytest.approx(0.02, rel=0.05)
    assert np.abs(off[60]).max() <= 0.01
    # a pulse hits the tolerance of half a standard deviation with a probability of erf(0.5 / sqrt 2) = 0.383
    assert verified.pulses.mean() == pytest.approx(1 / 0.383, rel=0.08)
    assert (plain.pulses == 1).all()


def test_the_same_values_leave_the_same_conductances_and_others_do_not():
    device = crossbar(write_noise=0.05)
    middle = np.full(device.spec.n_tunables, (LOW + HIGH) / 2)
    device.tune(middle)
    first = device.conductances()
    device.tune(device.spec.tunable_high)
    device.tune(middle)
    np.testing.assert_array_equal(device.conductances(), first)
    device.tune(middle * 1.01)
    assert (np.abs(device.conductances() - first) > 1e-9).all()


def test_cells_of_which_nothing_new_is_asked_keep_their_conductances_and_noise_is_normal():
    device = crossbar(n_inputs=60, n_outputs=40, write_noise=0.05)
    first = device.conductances()
    moved = device.spec.tunable_rest.copy()
    moved[:60] = (LOW + HIGH) / 2  # the positive cells of output 0
    device.tune(moved)
    same = device.conductances() == first
    assert same[:, 1:].all()
    assert not same[:, 0].any()
    device.tune(np.full(device.spec.n_tunables, (LOW + HIGH) / 2))
    off = (device.conductances() - (LOW + HIGH) / 2) / (HIGH - LOW) / 0.05
    assert stats.kstest(off.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(off[:, :-1].ravel(), off[:, 1:].ravel())[0, 1]) < 0.06


def test_conductances_fall_with_the_power_of_their_age_and_a_write_renews_them():
    device = crossbar(drift_exponent=0.1, drift_rows=10.0, columns="reference")
    ages = np.array([0, 90, 990, 9990])
    cell = np.zeros((1, 6))
    cell[0, 2] = 0.2
    readings = []
    with device:
        for age in ages:
            device.continue_from(int(age))
            readings.append(device.measure(cell)[0] * device._full_scale / 0.2)
        grown = 1 + ages / 10
        exponents = device._chip._exponents[2]
        start = device.conductances()[2]
        cells = start[:, np.newaxis] * grown ** -exponents[:, np.newaxis]
        np.testing.assert_allclose(np.array(readings).T, cells[:-1] - cells[-1], rtol=5e-3, atol=2e-3 * HIGH)
        device.tune(device.spec.tunable_high)
        device.tune(device.spec.tunable_rest)
        renewed = device.measure(cell)[0] * device._full_scale / 0.2
    np.testing.assert_allclose(renewed, readings[0], atol=1e-9)
    assert device._chip._exponents.mean() == pytest.approx(0.1, rel=0.2)


def test_stuck_cells_stay_and_wear_makes_more_of_them():
    device = crossbar(n_inputs=30, n_outputs=20, stuck_share=0.1, endurance=50)
    rng = np.random.default_rng(3)

    def stuck_now():
        device.tune(rng.uniform(LOW * 2, HIGH / 2, device.spec.n_tunables))
        return np.isin(device.conductances(), (LOW, HIGH))

    first = stuck_now()
    assert first.mean() == pytest.approx(0.1, abs=0.03)
    for _ in range(48):
        stuck_now()
    after = stuck_now()
    assert after[first].all()  # what is stuck stays so
    assert after.mean() == pytest.approx(0.1 + 0.9 / 2, abs=0.06)  # half of the others outlive the endurance


@pytest.mark.parametrize("stopped_after", [3, 4])  # between two rows of one tuning, and before another
def test_a_run_that_goes_on_finds_the_cells_as_they_were(tmp_path, stopped_after):
    settings = {"drift_exponent": 0.1, "endurance": 3, "write_noise": 0.02}
    rng = np.random.default_rng(0)
    rows = rng.uniform(-0.2, 0.2, (8, 30, 6))
    tunings = rng.uniform(LOW, HIGH, (4, crossbar().spec.n_tunables))

    def measured(journal, count):
        with hwloop.Session(crossbar(**settings), journal=journal) as session:
            return [session.measure(rows[k], tuning=tunings[k // 2]) for k in range(count)]

    expected = measured(InMemoryJournal(), 8)
    with closing(DiskJournal(tmp_path)) as journal:
        measured(journal, stopped_after)
    with closing(DiskJournal(tmp_path)) as journal:
        np.testing.assert_array_equal(measured(journal, 8), expected)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"low_siemens": 1e-3}, "must lie below high_siemens"),
        ({"levels": 1}, "levels must be at least 2"),
        ({"endurance": 0}, "endurance must be at least 1"),
    ],
)
def test_settings_that_make_no_crossbar_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        crossbar(**settings)


def test_a_run_that_is_closed_between_its_calls_goes_on_to_the_last_bit(tmp_path):
    def rows(folder, calls):
        device = crossbar(n_inputs=3, n_outputs=2, endurance=4, drift_exponent=0.3, drift_rows=1)
        journal = DiskJournal(folder)
        session = hwloop.Session(device, journal=journal)  # opens and closes for every call
        rng = np.random.default_rng(0)
        tunings = rng.uniform(LOW, HIGH, (2, device.spec.n_tunables))
        for call in range(calls):
            session.measure(rng.uniform(-0.2, 0.2, (2, 3)), tuning=tunings[call % 4 // 2], purpose="repeat")
        journal.close()
        return ReadOnlyJournal(folder).read_rows(np.arange(2 * calls))[1], device.pulses

    expected = rows(tmp_path / "whole", 8)
    for calls in (1, 2, 5):
        rows(tmp_path / "stopped", calls)
    for found, whole in zip(rows(tmp_path / "stopped", 8), expected, strict=True):
        np.testing.assert_array_equal(found, whole)
