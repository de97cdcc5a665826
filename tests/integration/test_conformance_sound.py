"""Sound devices of many kinds: noisy, drifting, glitching, quantised, slow. None may be called broken."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from examples import each_row

import hwloop
from hwloop.conformance import Status, check_device

MATRIX = np.random.default_rng(0).normal(size=(6, 8)) / 3
SPEC = hwloop.DeviceSpec(n_inputs=6, n_outputs=8, input_low=-1.0, input_high=1.0, input_unit="V")
FIBRE = {"n_inputs": 16, "n_outputs": 40}


class Rig(hwloop.Device):
    """A saturating mixer; a subclass adds its noise to what ``physics`` gives."""

    spec = SPEC

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.row = 0

    def identify(self):
        return f"{type(self).__name__} no. 7"

    def physics(self, inputs):
        return np.tanh(inputs @ MATRIX + 0.3)

    def _measure(self, inputs):
        rows = np.arange(self.row, self.row + len(inputs))
        self.row += len(inputs)
        return self.physics(inputs) + self.noise(rows, (len(inputs), self.spec.n_outputs))

    def noise(self, rows, shape):
        return 0.01 * self.rng.normal(size=shape)


class SinglePrecision(Rig):
    """Stateless and without noise, yet a matrix product rounds otherwise in another batch."""

    def _measure(self, inputs):
        return np.tanh(inputs.astype(np.float32) @ MATRIX.astype(np.float32))


class OneNoisyPixel(Rig):
    spec = replace(SPEC, n_outputs=1)

    def physics(self, inputs):
        return ((inputs @ MATRIX) ** 2).sum(axis=1, keepdims=True)

    def noise(self, rows, shape):
        return 0.3 * self.rng.normal(size=shape)


class OneRowACall(Rig):
    spec = replace(SPEC, max_rows=1)


class HeavyTails(Rig):
    spec = replace(SPEC, max_rows=10)

    def noise(self, rows, shape):
        return 0.02 * self.rng.standard_t(2, size=shape)


class SpikeCounts(Rig):
    def _measure(self, inputs):
        return self.rng.poisson(np.maximum(0.0, 6 * (inputs @ MATRIX) - 1))


class Comparators(Rig):
    def _measure(self, inputs):
        return super()._measure(inputs) > 0.3


class Flicker(Rig):
    """Noise that is correlated from row to row, and common to all outputs: a walk that is pulled back."""

    level = 0.0

    def noise(self, rows, shape):
        levels = []
        for step in self.rng.normal(size=len(rows)):
            self.level = 0.98 * self.level + 0.05 * step
            levels.append(self.level)
        return np.array(levels)[:, None] + 0.001 * self.rng.normal(size=shape)


class MainsHum(Rig):
    def noise(self, rows, shape):
        return 0.1 * np.sin(0.7 * rows)[:, None] + 0.005 * self.rng.normal(size=shape)


class NoiseThatGrowsWithTheSignal(Rig):
    def _measure(self, inputs):
        clean = self.physics(inputs)
        return clean * (1 + 0.2 * self.rng.normal(size=(len(inputs), 1)))


class DeadChannels(Rig):
    def _measure(self, inputs):
        return super()._measure(inputs) * (np.arange(8) < 5)


class LimitsByChannel(Rig):
    spec = replace(SPEC, input_low=np.linspace(-1, 0.5, 6), input_high=np.linspace(0.6, 3, 6), row_seconds=1e-5)


class Slow(Rig):
    spec = replace(SPEC, row_seconds=1e-3)

    def _measure(self, inputs):
        time.sleep(1e-3 * len(inputs))
        return super()._measure(inputs)


class OneUserOnly(Rig):
    """Hardware that one program may open at a time."""

    port = threading.Lock()
    mine = False

    def open(self):
        if not self.mine and not self.port.acquire(blocking=False):
            raise hwloop.DeviceError("the port is in use by another program")
        self.mine = True

    def close(self):
        if self.mine:
            self.mine = False
            self.port.release()


class QueueEmptiedOnClose(Rig):
    """Leaves its reply in the link when it is interrupted, and drops the link on close."""

    link = ()

    def close(self):
        self.link = ()

    def _measure(self, inputs):
        self.link = (*self.link, super()._measure(inputs))
        reply, *rest = self.link
        self.link = tuple(rest)
        return reply


class WithoutDict(hwloop.Device):
    __slots__ = ("link",)
    spec = replace(SPEC, deterministic=True)

    def _measure(self, inputs):
        return np.tanh((inputs[:, :, None] * MATRIX).sum(axis=1))


def fibre(**settings):
    return lambda seed: hwloop.open_device("optical-fibre", **FIBRE, seed=seed, **settings)


def around(wrapper, inside, **settings):
    return lambda seed: wrapper(inside(seed), **settings)


SOUND = {
    "fibre": fibre(),
    "fibre-noiseless": fibre(read_noise=0.0),
    "fibre-phase": fibre(encoding="phase", read_noise=0.03),
    "fibre-hard-saturation": fibre(saturation="hard", full_well_electrons=500.0),
    "fibre-glitching": fibre(glitch_rate=0.02),
    "fibre-drifting": fibre(drift_per_row=3e-4, gain_jitter=0.05),
    "averaged": around(hwloop.Averaged, fibre(read_noise=0.05), n=4),
    "quantised": around(hwloop.Quantized, fibre(), dac_bits=5, adc_bits=4, adc_range=(0.0, 1.0)),
    "drifting": around(hwloop.Drifting, fibre(), gain_per_row=2e-4, offset_per_row=-1e-4),
    "random-walk": around(
        hwloop.Drifting,
        fibre(read_noise=0.0, adc_bits=None),
        gain_per_row=3e-3,
        offset_per_row=1e-3,
        kind="random-walk",
    ),
    "retrying": around(
        hwloop.Retrying,
        around(hwloop.Faulty, fibre(), plan={"timeout": 0.03, "garbled": 0.03, "disconnect": 0.03, "stale": 0.02}),
        backoff_seconds=0.0,
        retries=6,
        stop_after=10,
    ),
    "single-precision": SinglePrecision,
    "one-noisy-pixel": OneNoisyPixel,
    "one-row-a-call": OneRowACall,
    "heavy-tails": HeavyTails,
    "spike-counts": SpikeCounts,
    "comparators": Comparators,
    "flicker": Flicker,
    "mains-hum": MainsHum,
    "noise-with-signal": NoiseThatGrowsWithTheSignal,
    "dead-channels": DeadChannels,
    "limits-by-channel": LimitsByChannel,
    "slow": Slow,
    "one-user-only": OneUserOnly,
    "queue-emptied": QueueEmptiedOnClose,
    "without-dict": lambda seed: WithoutDict(),
}


def broken(kind, seed):
    report = check_device(lambda: SOUND[kind](seed), seed=seed, timeout_seconds=30)
    return {name: report[name] for name in report.broken}


@pytest.mark.parametrize("kind", each_row(SOUND, "random-walk", "one-user-only"))
def test_no_false_alarm_on_a_sound_device(kind):
    assert broken(kind, seed=0) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("kind", SOUND)
def test_no_false_alarm_with_other_noise_and_other_lots(kind, seed):
    assert broken(kind, seed) == {}


def test_what_cannot_be_judged_or_should_be_known_is_a_note():
    by_note = {
        "fibre": "sign",
        "one-row-a-call": "batches",
        "dead-channels": "saturation",
        "one-user-only": "two-at-once",
    }
    for kind, promise in by_note.items():
        finding = check_device(lambda kind=kind: SOUND[kind](0), only=[promise])[promise]
        assert finding.status is Status.NOTE, (kind, finding)


def test_a_blind_detector_is_told_of_the_reference_slot_and_another_is_not():
    blind = check_device(lambda: SOUND["fibre"](0), only=["sign"])["sign"]
    assert "blind to the sign" in blind.summary
    assert "reference slot" in blind.next_step
    assert check_device(lambda: HeavyTails(0), only=["sign"])["sign"].status is Status.PASS
    one_sided = check_device(lambda: LimitsByChannel(0), only=["sign"])["sign"]
    assert one_sided.evidence["mirrored_about_zero"] is False
