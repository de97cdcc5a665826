"""Every pair and triple of wrappers and pools, next to the driver: what really reaches it, and what is refused.

A wrapper that is registered in the group ``hwloop.wrappers`` without settings here fails the test.
"""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.registry import WRAPPERS

pytestmark = pytest.mark.exhaustive

STEP, SETTLING = 0.4, 2
CHANNELS = 2


class Probe(hwloop.Device):
    """Answers half of this row and half of the one before; notes every step, and every row beyond its limits.

    It stands at 0 when it is opened, and goes there when it is closed.
    """

    def __init__(self, max_rows: int | None) -> None:
        self.spec = hwloop.DeviceSpec(CHANNELS, CHANNELS, -1.0, 1.0, max_rows=max_rows)
        self.at = np.zeros(CHANNELS)
        self.largest_step = 0.0
        self.rows = self.beyond = 0

    def close(self) -> None:
        self.at = np.zeros(CHANNELS)

    def _measure(self, inputs):
        answers = []
        for row in inputs:
            self.rows += 1
            self.beyond += int((np.abs(row) > 1.0).any())
            self.largest_step = max(self.largest_step, float(np.abs(row - self.at).max()))
            answers.append((row + self.at) / 2)
            self.at = row.copy()
        return np.array(answers)


class Silent(hwloop.DeviceWrapper):
    """A third party's, which says nothing of itself."""

    def _measure(self, inputs):
        return self.device.measure(inputs)


class Quiet(hwloop.Averaged):
    """Another one's: what its base class says does not hold for what it does itself."""

    def __init__(self, device: hwloop.Device) -> None:
        super().__init__(device, 1)

    def _measure(self, inputs):
        return self.device.measure(inputs[::-1])[::-1]


def registered(name, **settings):
    return lambda make: WRAPPERS.build(name, make(), **settings)


# Built around what ``make`` makes; a pool makes it twice.
LAYERS = {
    "averaged": registered("averaged", n=2),
    "calibrated": registered("calibrated", rows_per_call=3),
    "drifting": registered("drifting"),
    "faulty": registered("faulty", plan={"timeout": 0.05, "disconnect": 0.05}),
    "quantized": registered("quantized", dac_bits=3),
    "retrying": registered("retrying", retries=9, stop_after=99, backoff_seconds=0.0, plausible=[]),
    "settled": registered("settled", rows=SETTLING),
    "slew-limited": registered("slew-limited", per_row_max=STEP),
    "pool": lambda make: hwloop.Pool([make(), make()]),
    "silent": lambda make: Silent(make()),
    "quiet": lambda make: Quiet(make()),
    "narrowed": lambda make: hwloop.Calibrated(make(), input_low=0.2),
}
INNER_OF_REFUSED = {
    "slew-limited": {"quantized", "pool", "retrying", "slew-limited", "silent", "quiet", "narrowed"},
    "settled": {"pool", "silent", "quiet"},
}
PAIRS, TRIPLES = (list(itertools.product(LAYERS, repeat=n)) for n in (2, 3))


def test_every_registered_wrapper_has_settings():
    missing = set(WRAPPERS.entries()) - set(LAYERS)
    assert not missing, f"add settings of {sorted(missing)} to LAYERS in this file"


def is_refused(order):
    """The order from the inside out, as it is said on docs/decisions."""
    return any(inner in INNER_OF_REFUSED.get(outer, ()) for k, outer in enumerate(order) for inner in order[:k])


def build(order, probes, max_rows):
    if not order:
        probes.append(Probe(max_rows))
        return probes[-1]
    return LAYERS[order[-1]](lambda: build(order[:-1], probes, max_rows))


def expected(order, stimuli):
    """What settled rows are answered, where nothing in the order alters an answer; else ``None``."""
    known = {"averaged", "calibrated", "drifting", "retrying", "settled", "slew-limited", "pool", "narrowed"}
    faults_are_mended = "faulty" not in order or "retrying" in order[order.index("faulty") :]
    return stimuli if set(order) <= known | {"faulty"} and faults_are_mended else None


def try_order(order, rng, requests):
    """Random requests; returns how many were answered."""
    max_rows = rng.choice([None, 1, 2, 7, 40])
    refused, cut_apart = is_refused(order), False
    if "settled" in order and "retrying" in order[: len(order) - 1 - order[::-1].index("settled")]:
        cut_apart = max_rows is not None and max_rows <= SETTLING * 8  # room that averages and ramps take up
    probes: list[Probe] = []
    device, refusal = None, ""
    try:
        device = build(order, probes, max_rows)
    except hwloop.ConfigError as error:
        refusal = str(error)
    if device is None:
        assert refused or cut_apart, f"{order} is allowed, but: {refusal}"
        assert "promises" in refusal
        return 0
    assert not refused, f"{order} must be refused"
    answered = 0
    low = 0.2 if "narrowed" in order else -1.0
    for _ in range(requests):
        stimuli = rng.uniform(low, 1.0, size=(rng.integers(1, 5), CHANNELS))
        stimuli = np.repeat(stimuli, rng.integers(1, 3, size=len(stimuli)), axis=0)
        try:
            if answered % 5 == 0:
                device.close()
                device.open()
            answers = device.measure(stimuli)
        except hwloop.DeviceError:
            assert "faulty" in order
            with contextlib.suppress(hwloop.DeviceError):  # the walk to rest may meet a fault too
                device.close()
            device.open()
        else:
            answered += 1
            settled = expected(order, stimuli) if "settled" in order else None
            if settled is not None:
                np.testing.assert_allclose(answers, settled, atol=1e-12, err_msg=str(order))
    with contextlib.suppress(hwloop.DeviceError):
        device.close()
    assert "faulty" in order or not any(probe.at.any() for probe in probes)
    for probe in probes:
        assert probe.beyond == 0, order
        if "slew-limited" in order:
            assert probe.largest_step <= STEP * (1 + 1e-9), order
    return answered


@pytest.mark.parametrize("outer", each_row(LAYERS, "averaged", "retrying", "slew-limited", daily=LAYERS))
def test_no_order_breaks_a_promise(outer):
    rng = np.random.default_rng(list(LAYERS).index(outer))
    orders = [(outer,), *(order for order in PAIRS if order[-1] == outer)]
    triples = [order for order in TRIPLES if order[-1] == outer]
    orders += [triples[k] for k in rng.choice(len(triples), 5, replace=False)]
    assert sum(try_order(order, rng, 1) for order in orders) >= 5


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("outer", LAYERS)
def test_no_order_breaks_a_promise_10_000_requests(outer):
    rng = np.random.default_rng(100 + list(LAYERS).index(outer))
    orders = [order for order in (*PAIRS, *TRIPLES) if order[-1] == outer]
    answered = 0
    while answered < 10_000 / len(LAYERS):
        for order in orders:
            answered += try_order(order, rng, 8)


@pytest.mark.parametrize(
    ("inner", "outer", "message"),
    [
        ("quantized", "slew-limited", r"Put it inside: Quantized\(SlewLimited\(Probe, ...\)\)"),
        ("retrying", "slew-limited", r"Put it inside: Retrying\(SlewLimited\(Probe, ...\)\)"),
        ("pool", "slew-limited", r"around each member: Pool\(\[SlewLimited\(Probe, ...\), ...\]\)"),
        ("pool", "settled", r"around each member: Pool\(\[Settled\(Probe, ...\), ...\]\)"),
        ("narrowed", "slew-limited", r"Put it inside: Calibrated\(SlewLimited\(Probe, ...\)\)"),
        ("slew-limited", "slew-limited", "leave the outer one out"),
        ("silent", "slew-limited", r"Silent\(SlewLimited\(Probe, ...\)\).*handling = hwloop.RowHandling\(\)"),
    ],
)
def test_the_message_names_the_right_order_and_that_one_is_allowed(inner, outer, message):
    with pytest.raises(hwloop.ConfigError, match=message):
        build((inner, outer), [], None)
    if inner != outer:
        build((outer, inner), [], None)


def test_a_wrapper_between_is_named_too():
    with pytest.raises(hwloop.ConfigError, match=r"Averaged\(Quantized\(SlewLimited\(Probe, ...\)\)\)"):
        build(("quantized", "averaged", "slew-limited"), [], None)


def test_what_a_third_party_declares_is_believed():
    class Said(Silent):
        handling = hwloop.RowHandling()

        def _measure(self, inputs):
            return self.device.measure(inputs)

    assert hwloop.SlewLimited(Said(Probe(None)), STEP).measure([[0.5, 0.5]]).shape == (1, CHANNELS)


def test_without_a_converter_for_stimuli_quantized_may_stand_inside():
    hwloop.SlewLimited(hwloop.Quantized(Probe(None), adc_bits=8, adc_range=(-1, 1)), STEP)


def test_the_rest_may_be_said_where_limits_are_narrowed():
    hwloop.SlewLimited(hwloop.Calibrated(Probe(None), input_low=0.2), STEP, rest=0.3)


def test_one_device_is_no_two_members_of_a_pool():
    probe = Probe(None)
    with pytest.raises(hwloop.ConfigError, match="twice"):
        hwloop.Pool([hwloop.SlewLimited(probe, STEP), hwloop.SlewLimited(probe, STEP)])


def test_what_starts_its_device_again_by_itself_is_limited_within():
    worker = hwloop.open_device("worker:this", target="nowhere:Rig")
    with pytest.raises(hwloop.ConfigError, match="Put SlewLimited into what WorkerDevice serves"):
        hwloop.SlewLimited(worker, STEP)
