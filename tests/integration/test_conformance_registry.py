"""Every device of this project keeps its promises, as it comes and inside every wrapper."""

import os

import pytest
from examples import each_row

import hwloop
from hwloop.conformance import check_device
from hwloop.devices.null import LinearProjection, Zeros
from hwloop.errors import ConfigError, DatasetError
from hwloop.registry import DEVICES, WRAPPERS
from hwloop.simulators.bench.virtual_bench import VirtualBench

RECORDED = ("acoustic-recorded", "fibre-recorded")
INSTRUMENTS = ("serial-board", "sound-card", "waveform")  # need hardware, or what stands for it
REPLAYS = ("replay", "replay-nearest", "twin")  # need a recorded run, or a file
MADE_OF_OTHERS = ("pool",)
# Smaller than they come, for a check asks for many single rows.
SETTINGS = {
    "optical-fibre": {"n_inputs": 16, "n_outputs": 60},
    "acoustic-waveform": {"n_inputs": 6, "n_modes": 20, "n_scatterers": 1},
    "microwave-cavity": {"n_inputs": 12, "n_frequencies": 6},
    "multimode-fibre-nonlinear": {"n_modes": 16, "n_inputs": 9, "n_outputs": 16, "n_segments": 2},
    "oscillators": {"n_inputs": 12, "duration_periods": 2.0, "steps_per_period": 32},
    "settled-oscillators": {"n_inputs": 8},
    "passive-cavity": {"n_inputs": 16, "n_nodes": 20},
    "second-harmonic": {"n_inputs": 16, "steps": 8},
    "programmable-speckle": {"n_inputs": 8, "n_outputs": 6},
    "mach-zehnder-mesh": {"n_modes": 6},
    "memristor-crossbar": {"n_inputs": 8, "n_outputs": 6},
    "spiking-lava": {
        "engine": "twin",
        "n_inputs": 8,
        "n_neurons": 20,
        "window_seconds": 0.03,
    },  # Lava is elsewhere
    "spiking-brian2": {"n_inputs": 8, "n_neurons": 20, "window_seconds": 0.01, "bias_current": 2.0},
    "spiking-lif": {"n_inputs": 8, "n_neurons": 20, "window_seconds": 0.03},
    "linear-instrument": {"time_constant": 0.0, "memory": 0.0},  # it has memory on purpose: see below
}
ELSEWHERE = ("spiking-brian2",)  # start another process, once for every examination
WRAPPER_SETTINGS = {
    "averaged": {"n": 3},
    "drifting": {"gain_per_row": 1e-4},
    "faulty": {"plan": {}},
    "settled": {"rows": 2},
    "slew-limited": {"per_row_max": 2.0},
    "quantized": {"dac_bits": 8, "adc_bits": 8, "adc_range": (0.0, 1.0)},
}


def small_fibre():
    return hwloop.open_device("optical-fibre", **SETTINGS["optical-fibre"])


def assert_keeps_its_promises(make_device):
    report = check_device(make_device)
    assert {name: report[name] for name in report.broken} == {}


@pytest.mark.parametrize(
    "name",
    each_row(
        sorted(set(DEVICES.entries()) - {*RECORDED, *INSTRUMENTS, *REPLAYS, *ELSEWHERE, *MADE_OF_OTHERS}),
        "optical-fibre",
        "relu-layer",
    ),
)
def test_every_device_of_the_registry_keeps_its_promises(name):
    assert_keeps_its_promises(lambda: hwloop.open_device(name, **SETTINGS.get(name, {})))


@pytest.mark.exhaustive  # the other process is started two dozen times
@pytest.mark.slow
@pytest.mark.parametrize("name", ELSEWHERE)
def test_every_device_in_a_process_of_its_own_keeps_its_promises(name):
    assert_keeps_its_promises(lambda: hwloop.open_device(name, **SETTINGS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["poisson", "latency"])
def test_spiking_devices_keep_their_promises_with_spikes_at_their_inputs(encoding):
    settings = {**SETTINGS["spiking-lif"], "encoding": encoding, "max_rate_hz": 1000.0, "input_scale": 10.0}
    assert_keeps_its_promises(lambda: hwloop.open_device("spiking-lif", **settings))


@pytest.mark.slow
def test_the_memory_of_a_simulated_instrument_is_named_and_settling_mends_it():
    assert check_device(lambda: hwloop.open_device("linear-instrument")).broken == ["memory"]
    assert_keeps_its_promises(lambda: hwloop.Settled(hwloop.open_device("linear-instrument"), rows=8))


@pytest.mark.slow
def test_the_waveform_device_keeps_its_promises_on_the_bench(tmp_path):
    with VirtualBench(small_fibre()) as bench:
        rig = bench.device_toml(tmp_path / "rig.toml")
        assert_keeps_its_promises(lambda: hwloop.open_device(rig))


@pytest.mark.real_data
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_devices_keep_their_promises(name):
    try:
        hwloop.open_device(name)
    except DatasetError as error:
        if "HWLOOP_DATA" in os.environ:
            raise
        pytest.skip(str(error))
    assert_keeps_its_promises(lambda: hwloop.open_device(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WRAPPERS.entries()))
def test_every_wrapper_keeps_the_promises(name):
    settings = WRAPPER_SETTINGS.get(name, {})
    try:
        WRAPPERS.build(name, small_fibre(), **settings)
    except ConfigError as error:
        pytest.skip(f"needs settings: {error}")
    assert_keeps_its_promises(lambda: WRAPPERS.build(name, small_fibre(), **settings))


@pytest.mark.slow
def test_a_pool_keeps_its_promises():
    assert_keeps_its_promises(lambda: hwloop.open_device("pool", devices=[small_fibre(), small_fibre()]))


def test_null_physics_is_named_for_what_it_is():
    spec = small_fibre().spec
    assert check_device(lambda: Zeros(spec)).broken == ["repeatability"]
    assert check_device(lambda: LinearProjection(spec)).passed
