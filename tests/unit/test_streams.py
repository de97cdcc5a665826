"""Devices whose state goes on from row to row: the session keeps their order, and resumes where they stood."""

import numpy as np
import pytest

from hwloop import Averaged, ConfigError, Session, StimulusError, open_device
from hwloop.conformance import check_device
from hwloop.conformance.report import Status
from hwloop.device import Device, DeviceSpec
from hwloop.events import StreamRedriven
from hwloop.journal import InMemoryJournal
from hwloop.reference import Reference
from hwloop.training.echo_state import EchoState
from hwloop.training.reservoir import PhysicalMemory, PhysicalStream

LOOPS = {
    "delay-loop": {"laps_per_step": 2, "excess_nodes": 1, "gain": 0.8, "input_scale": 0.5},
    "passive-cavity": {"full_scale": 20.0},
}
STEPS, NODES = 30, 8


def loop(name="passive-cavity", **settings):
    return open_device(name, **{"n_inputs": 1, "n_nodes": NODES, "streams": True, **LOOPS[name], **settings})


def stretch(steps=STEPS, seed=0):
    rows = np.zeros((steps, 2))
    rows[:, 0] = np.random.default_rng(seed).uniform(-1, 1, steps)
    rows[0, 1] = 1.0
    return rows


class Integrator(Device):
    """Adds its drive up; ``leak`` of it stays behind a reset."""

    spec = DeviceSpec(2, 1, streams=True)

    def __init__(self, leak=0.0, memory=1.0):
        self.leak, self.memory, self.sum = leak, memory, 0.0

    def identify(self):
        return "integrator"

    def _measure(self, inputs):
        answers = []
        for drive, reset in inputs:
            self.sum = (self.leak if reset > 0.5 else self.memory) * self.sum + drive
            answers.append([self.sum])
        return np.array(answers)


@pytest.mark.parametrize("name", LOOPS)
def test_rows_that_go_on_are_one_row_of_as_many_steps(name):
    rows = stretch()
    quiet = {"read_noise": 0.0, "adc_bits": None}
    whole = loop(name, n_inputs=STEPS, sequence_length=STEPS, readout="all", streams=False, **quiet)
    expected = whole.measure(rows[None, :, 0]).reshape(STEPS, NODES)
    device = loop(name, **quiet)
    np.testing.assert_allclose(device.measure(rows), expected, atol=1e-6)
    pieces = np.concatenate([device.measure(rows[k : k + 7]) for k in range(0, STEPS, 7)])
    np.testing.assert_array_equal(pieces, device.measure(rows))


def test_what_streams_has_one_input_more_and_says_so():
    device = loop()
    assert (device.spec.n_inputs, device.spec.n_drives, device.spec.as_dict()["streams"]) == (2, 1, True)
    assert "streams" not in loop(streams=False).spec.as_dict()
    with pytest.raises(ValueError, match="a drive and a reset"):
        DeviceSpec(1, 1, streams=True)


class TestSession:
    def test_no_row_is_recalled_for_its_answer_is_another_one(self):
        with Session(Integrator()) as session:
            rows = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
            assert session.measure(rows).ravel().tolist() == [1.0, 2.0, 3.0]
            assert session.measure(rows[1:]).ravel().tolist() == [4.0, 5.0]
            assert session.ledger.total == 5

    def test_the_first_row_of_all_begins_at_rest(self):
        with Session(Integrator()) as session, pytest.raises(StimulusError, match="let the first row"):
            session.measure([[1.0, 0.0]])

    def test_what_others_measured_meanwhile_is_driven_past(self):
        device, told = Integrator(), []
        session = Session(device, listeners=[told.append])
        with session:
            session.measure([[1.0, 1.0], [1.0, 0.0]])
        device.measure([[0.5, 0.0]])  # nobody knows where it stands now
        with session:
            assert session.measure([[1.0, 0.0]]).tolist() == [[3.0]]
        assert [event for event in told if isinstance(event, StreamRedriven)] == [StreamRedriven(2, 0)]

    @pytest.mark.parametrize("cut", [1, 11, 29])
    def test_a_run_that_goes_on_is_the_uninterrupted_one(self, cut):
        rows = np.concatenate([stretch(), stretch(seed=1)])
        with Session(loop()) as session:
            expected = session.measure(rows)
        journal = InMemoryJournal()
        with Session(loop(), journal=journal) as session:
            session.measure(rows[: STEPS + cut])
        with Session(loop(), journal=journal) as session:
            found = session.measure(rows)  # the first from the journal, noise and all
            assert session.ledger.total == len(rows)
        np.testing.assert_array_equal(found, expected)

    def test_what_would_come_between_rows_is_refused(self):
        with pytest.raises(ConfigError, match="may measure a row twice"):
            Session(Averaged(loop(), 3))
        with pytest.raises(ConfigError, match="leave the reference out"):
            Session(loop(), reference=Reference(every_rows=5))


class TestCheck:
    @pytest.mark.slow
    def test_a_loop_keeps_its_promises(self):
        report = check_device(lambda: loop(read_noise=0.001, n_nodes=2), rows=3000)
        assert report.passed, report
        assert report["stream"].status is Status.PASS

    def test_a_reset_that_leaves_something_is_found(self):
        finding = check_device(lambda: Integrator(leak=0.5), only=["stream"])["stream"]
        assert finding.status is Status.FAIL
        assert "left of the rows before a reset" in finding.summary

    def test_a_stream_without_memory_is_noted(self):
        assert check_device(lambda: Integrator(memory=0.0), only=["stream"])["stream"].status is Status.NOTE
        assert check_device(lambda: loop(streams=False), only=["stream"])["stream"].status is Status.NOTE


def test_a_stream_forecasts_what_windows_do_at_a_row_a_step():
    t = np.arange(200.0)
    series = (np.sin(t / 3) + 0.5 * np.sin(t / 7))[None, :, None]
    quiet = {"read_noise": 0.0, "adc_bits": None, "dac_bits": None, "n_nodes": 12, "round_trip_gain": 0.6}
    streaming = EchoState(PhysicalStream(Session(loop(**quiet))), washout=20, ridge=10.0).fit(series)
    windowed = EchoState(
        PhysicalMemory(
            Session(loop(n_inputs=200, sequence_length=200, readout="all", **{**quiet, "streams": False}))
        ),
        washout=20,
        ridge=10.0,
    ).fit(series)
    np.testing.assert_allclose(streaming.predict(series), windowed.predict(series), atol=2e-3)
    assert streaming.rows_to_forecast(5) == 200 + 4
    before = streaming.reservoir.session.ledger.total
    found = streaming.forecast(5)
    assert streaming.reservoir.session.ledger.total - before == 204
    np.testing.assert_allclose(found, windowed.forecast(5), atol=2e-2)
    np.testing.assert_array_equal(streaming.forecast(5), found)  # although it had been driven elsewhere
    with pytest.raises(ConfigError, match="one at a time"):
        streaming.forecast(2, np.concatenate([series, series]))
