"""No random sequence of calls brings a value out of limits to an instrument, through any adapter."""

import asyncio

import numpy as np
import pytest

from hwloop import DeviceError, LimitError, StimulusError
from hwloop.devices.adapters import (
    BlueskyDetector,
    ChannelDevice,
    Gettable,
    OphydAsyncDevice,
    PyMeasureDevice,
    QCoDeSDevice,
    Settable,
)

LOW, HIGH = np.array([-1.0, 0.25]), np.array([2.0, 0.75])
WHY = "is not installed: pip install 'hwloop[lab]'"


class Instrument:
    """The far end: two values that were set last, and every value that ever arrived."""

    def __init__(self):
        self.arrived = [[], []]

    def set(self, channel, value):
        self.arrived[channel].append(float(value))
        return float(value)

    def get(self, channel):
        return self.arrived[channel][-1] if self.arrived[channel] else 0.0


def channels(instrument):
    return ChannelDevice(
        [Settable(f"c{i}", lambda v, i=i: instrument.set(i, v), LOW[i], HIGH[i]) for i in (0, 1)],
        [Gettable(f"c{i}", lambda i=i: instrument.get(i)) for i in (0, 1)],
    )


def pymeasure(instrument):
    pytest.importorskip("pymeasure", reason=f"pymeasure {WHY}")
    from pymeasure.adapters import Adapter
    from pymeasure.instruments import Instrument as Base
    from pymeasure.instruments.validators import strict_range

    class Wire(Adapter):
        def _write(self, command, **_):
            name, _, value = command.partition(" ")
            self.channel = int(name[1])
            if value:
                instrument.set(self.channel, value)

        def _read(self, **_):
            return repr(instrument.get(self.channel))

    class Supply(Base):
        zero = Base.control("C0?", "C0 %.17g", "Volts.")
        one = Base.control("C1?", "C1 %.17g", "Volts.", validator=strict_range, values=[LOW[1], HIGH[1]])

    supply = Supply(Wire(), "Supply", includeSCPI=False)
    return PyMeasureDevice(supply, [("zero", LOW[0], HIGH[0]), "one"], ["zero", "one"])


def qcodes(instrument):
    pytest.importorskip("qcodes", reason=f"qcodes {WHY}")
    from qcodes.parameters import Parameter
    from qcodes.validators import Numbers

    parameters = [
        Parameter(
            f"c{i}",
            set_cmd=lambda v, i=i: instrument.set(i, v),
            get_cmd=lambda i=i: instrument.get(i),
            vals=Numbers(LOW[i], HIGH[i]) if i else None,
        )
        for i in (0, 1)
    ]
    return QCoDeSDevice([(parameters[0], LOW[0], HIGH[0]), parameters[1]], parameters)


def ophyd_async(instrument):
    core = pytest.importorskip("ophyd_async.core", reason=f"ophyd-async {WHY}")
    signals = [
        core.soft_signal_rw(float, name=f"c{i}", setter=lambda v, i=i: instrument.set(i, v)) for i in (0, 1)
    ]
    return OphydAsyncDevice([(signals[i], LOW[i], HIGH[i]) for i in (0, 1)], signals)


class ThroughBluesky:
    """Calls the detector as the RunEngine does."""

    def __init__(self, instrument):
        self.detector = BlueskyDetector(channels(instrument), "rig")

    def open(self):
        done(self.detector.stage())

    def close(self):
        done(self.detector.unstage())

    def measure(self, rows):
        responses = []
        for row in np.asarray(rows):
            if len(row) == 2 and row[0] > row[1]:
                for movable, value in zip(self.detector.inputs, row, strict=True):
                    done(movable.set(value))
            else:
                done(self.detector.set(row))
            done(self.detector.trigger())
            responses.append(self.detector.read()["rig-response"]["value"])
        return np.array(responses).reshape(-1, 2)


def done(status):
    error = status.exception(10)
    if error is not None:
        raise error


ADAPTERS = {
    "channels": channels,
    "pymeasure": pymeasure,
    "qcodes": qcodes,
    "ophyd-async": ophyd_async,
    "bluesky": ThroughBluesky,
}
EVIL = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, *np.nextafter(LOW, -9), *np.nextafter(HIGH, 9), 0.0, 5.0])


def random_rows(rng):
    rows = rng.uniform(LOW, HIGH, (rng.integers(1, 4), 2))
    for _ in range(rng.integers(0, 3)):
        rows[rng.integers(len(rows)), rng.integers(2)] = rng.choice(np.concatenate([EVIL, LOW, HIGH]))
    if rng.random() < 0.05:
        rows = rows[:, :1]
    return rows.astype(np.float32) if rng.random() < 0.1 else rows


def run_sequence(device, rng):
    """Random calls in random order; returns how many rows were answered and how many requests refused."""
    answered = refused = 0
    for _ in range(rng.integers(2, 8)):
        call = rng.choice(["measure"] * 4 + ["open"] * 2 + ["close"])
        try:
            if call == "measure":
                rows = random_rows(rng)
                responses = device.measure(rows)
                np.testing.assert_array_equal(responses, rows)
                answered += len(rows)
            else:
                getattr(device, call)()
        except (StimulusError, LimitError, DeviceError):
            refused += 1
    device.close()
    return answered, refused


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_no_value_out_of_limits_arrives(adapter):
    check_limits(adapter, 100, seed=100)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_no_value_out_of_limits_arrives_in_10000_sequences(adapter, tenths):
    for tenth in tenths:
        check_limits(adapter, 1000, seed=(10_000, tenth))


def check_limits(adapter, sequences, seed):
    instrument = Instrument()
    device = ADAPTERS[adapter](instrument)
    rng = np.random.default_rng(seed)
    answered, refused = np.sum([run_sequence(device, rng) for _ in range(sequences)], axis=0)
    assert answered > sequences / 4
    assert refused > sequences / 4
    for channel, arrived in enumerate(instrument.arrived):
        assert len(arrived) >= answered
        assert np.all((np.array(arrived) >= LOW[channel]) & (np.array(arrived) <= HIGH[channel]))


@pytest.fixture(autouse=True)
def _no_loop_left():
    yield
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
