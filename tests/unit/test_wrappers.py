"""Averaging, quantisation, drift and null physics do to a device what they say, and no more."""

import numpy as np
import pytest

from hwloop import Averaged, Device, DeviceSpec, Drifting, LimitError, Quantized
from hwloop.devices.null import LinearProjection, Zeros
from hwloop.simulators.optical_fibre import OpticalFibre


class Echo(Device):
    """Answers its stimulus and notes what it was sent."""

    def __init__(self, **spec):
        self.spec = DeviceSpec(**{"n_inputs": 3, "n_outputs": 3, "deterministic": True, **spec})
        self.batches = []

    def _measure(self, inputs):
        self.batches.append(inputs.copy())
        return inputs


STIMULI = np.random.default_rng(0).uniform(0, 1, (37, 3))


def in_parts(device, stimuli, cuts):
    return np.concatenate([device.measure(part) for part in np.split(stimuli, cuts)])


class TestAveraged:
    def test_divides_white_noise_by_the_root_of_n(self):
        settings = {"n_inputs": 3, "n_outputs": 40, "read_noise": 0.04, "adc_bits": None}
        rows = np.full((500, 3), 0.4)
        single = OpticalFibre(**settings).measure(rows).std(axis=0).mean()
        averaged = Averaged(OpticalFibre(**settings), 16).measure(rows).std(axis=0).mean()
        assert single / averaged == pytest.approx(4.0, rel=0.05)

    def test_repeats_follow_each_other_and_rows_keep_their_order(self):
        echo = Echo()
        np.testing.assert_allclose(Averaged(echo, 3).measure(STIMULI), STIMULI, rtol=1e-15)
        np.testing.assert_array_equal(np.concatenate(echo.batches), np.repeat(STIMULI, 3, axis=0))

    def test_spec_states_the_cost(self):
        inner = Echo(row_seconds=2e-3, max_rows=10)
        spec = Averaged(inner, 4).spec
        assert spec.row_seconds == pytest.approx(8e-3)
        assert spec.max_rows == 2
        assert Averaged(Echo(max_rows=2), 5).spec.max_rows == 1
        assert Averaged(Echo(), 5).spec.max_rows is None
        assert Averaged(Echo(), 5).spec.row_seconds is None

    @pytest.mark.parametrize("max_rows", [1, 2, 7])
    def test_the_inner_limit_of_rows_holds(self, max_rows):
        echo = Echo(max_rows=max_rows)
        Averaged(echo, 3).measure(STIMULI)
        assert max(len(batch) for batch in echo.batches) <= max_rows
        assert sum(len(batch) for batch in echo.batches) == 3 * len(STIMULI)

    def test_many_repeats_of_many_rows_are_sent_in_chunks(self):
        echo = Echo()
        Averaged(echo, 1000).measure(STIMULI)
        assert max(len(batch) for batch in echo.batches) <= 4096

    def test_a_rows_noise_does_not_depend_on_batching(self):
        whole, split = (Averaged(OpticalFibre(n_inputs=3, n_outputs=4), 3) for _ in range(2))
        np.testing.assert_array_equal(whole.measure(STIMULI), in_parts(split, STIMULI, [1, 2, 20]))

    @pytest.mark.parametrize("n", [0, -1, 2.0, True, "3"])
    def test_bad_n(self, n):
        with pytest.raises(ValueError, match="n must be"):
            Averaged(Echo(), n)


class TestQuantized:
    def test_stimuli_arrive_on_the_grid_within_the_limits_of_each_channel(self):
        low, high = np.array([0.0, -1.0, 0.1]), np.array([1.0, 1.0, 0.7])
        echo = Echo(input_low=low, input_high=high)
        stimuli = low + STIMULI * (high - low)
        Quantized(echo, dac_bits=3).measure(np.vstack([stimuli, low, high]))
        sent = np.concatenate(echo.batches)
        assert (sent >= low).all()
        assert (sent <= high).all()
        assert [len(np.unique(np.round(column, 12))) for column in sent.T] == [8, 7, 8]

    def test_responses_are_on_the_grid_of_the_given_range(self):
        device = Quantized(Echo(), adc_bits=2, adc_range=(0.0, 0.6))
        assert set(np.round(device.measure(STIMULI).ravel(), 12)) == {0.0, 0.2, 0.4, 0.6}

    def test_without_bits_nothing_changes(self):
        np.testing.assert_array_equal(Quantized(Echo()).measure(STIMULI), STIMULI)

    def test_a_row_does_not_depend_on_its_batch(self):
        device = Quantized(Echo(), dac_bits=5, adc_bits=4, adc_range=(0.0, 1.0))
        np.testing.assert_array_equal(device.measure(STIMULI), in_parts(device, STIMULI, [1, 5, 36]))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"adc_bits": 8}, "needs adc_range"),
            ({"adc_range": (0, 1)}, "without adc_bits"),
            ({"adc_bits": 8, "adc_range": (1, 0)}, "must rise"),
            ({"adc_bits": 8, "adc_range": (0, 1, 2)}, "pair"),
            ({"adc_bits": 8, "adc_range": "01"}, "pair"),
            ({"adc_bits": 8, "adc_range": (0, np.inf)}, "finite"),
            ({"dac_bits": 0}, "nearest allowed value is 1"),
            ({"dac_bits": 30}, "nearest allowed value is 24"),
        ],
    )
    def test_bad_settings(self, settings, message):
        with pytest.raises(ValueError, match=message):
            Quantized(Echo(), **settings)


class TestDrifting:
    def test_linear_drift(self):
        device = Drifting(Echo(), gain_per_row=0.01, offset_per_row=-0.1)
        rows = np.arange(5.0)[:, np.newaxis]
        stimuli = STIMULI[:5]
        np.testing.assert_allclose(device.measure(stimuli), (1 + 0.01 * rows) * stimuli - 0.1 * rows)
        np.testing.assert_allclose(device.measure(stimuli), (1.05 + 0.01 * rows) * stimuli - 0.1 * (rows + 5))

    def test_random_walk_spreads_with_the_root_of_the_rows(self):
        # Over 400 independent walks, the variance after k rows is k.
        ends = []
        for seed in range(400):
            device = Drifting(Echo(), offset_per_row=1.0, kind="random-walk", seed=seed)
            device.rows_measured = 100
            ends.append(device.measure(np.zeros((1, 3)))[0, 0])
        assert np.mean(ends) == pytest.approx(0.0, abs=1.5)
        assert np.var(ends) == pytest.approx(100.0, rel=0.25)

    @pytest.mark.parametrize("kind", ["linear", "random-walk"])
    def test_drift_of_a_row_depends_on_its_number_alone(self, kind):
        settings = {"gain_per_row": 1e-3, "offset_per_row": 1e-2, "kind": kind, "seed": 3}
        stimuli = np.tile(STIMULI, (80, 1))
        whole = Drifting(Echo(), **settings).measure(stimuli)
        np.testing.assert_array_equal(
            whole, in_parts(Drifting(Echo(), **settings), stimuli, [1, 1023, 1025, 2500])
        )
        late = Drifting(Echo(), **settings)
        late.rows_measured = 2047
        np.testing.assert_array_equal(late.measure(stimuli[2047:]), whole[2047:])
        late.rows_measured = 5  # and back
        np.testing.assert_array_equal(late.measure(stimuli[5:9]), whole[5:9])

    def test_random_walk_starts_at_rest_and_gain_and_offset_walk_apart(self):
        device = Drifting(Echo(), gain_per_row=1.0, offset_per_row=1.0, kind="random-walk")
        responses = device.measure(np.repeat([[0.0, 1.0, 0.0]], 2000, axis=0))
        offset, gain = responses[:, 0], responses[:, 1] - responses[:, 0]
        assert (offset[0], gain[0]) == (0.0, 1.0)
        assert abs(np.corrcoef(np.diff(offset), np.diff(gain))[0, 1]) < 0.1

    def test_only_what_stands_still_is_deterministic(self):
        assert Drifting(Echo()).spec.deterministic
        assert not Drifting(Echo(), gain_per_row=1e-6).spec.deterministic

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"kind": "lineal"}, "did you mean 'linear'"),
            ({"gain_per_row": np.nan}, "finite"),
            ({"seed": -1}, "seed must be at least 0"),
        ],
    )
    def test_bad_settings(self, settings, message):
        with pytest.raises(ValueError, match=message):
            Drifting(Echo(), **settings)


class TestNullPhysics:
    def test_zeros(self):
        device = Zeros(DeviceSpec(3, 7, row_seconds=1.0))
        assert (device.measure(STIMULI) == np.zeros((37, 7))).all()
        assert device.spec.deterministic
        assert device.spec.row_seconds is None

    @pytest.mark.parametrize(("n_inputs", "n_outputs"), [(3, 3), (3, 50), (64, 20), (1, 1), (64, 1000)])
    def test_projection_is_linear_orthonormal_and_bit_identical_in_every_batch(self, n_inputs, n_outputs):
        device = LinearProjection(DeviceSpec(n_inputs, n_outputs, input_low=-1.0), seed=5)
        stimuli = np.random.default_rng(0).uniform(-0.5, 0.5, (140, n_inputs))
        responses = device.measure(stimuli)
        gram = device.projection.T @ device.projection if n_outputs >= n_inputs else None
        if gram is None:
            gram = device.projection @ device.projection.T
        else:
            np.testing.assert_allclose((responses**2).sum(axis=1), (stimuli**2).sum(axis=1), rtol=1e-5)
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)
        np.testing.assert_allclose(responses, stimuli @ device.projection.T, atol=1e-5)
        added = device.measure(stimuli[:70] + stimuli[70:])
        np.testing.assert_allclose(added, responses[:70] + responses[70:], atol=1e-5)
        np.testing.assert_array_equal(in_parts(device, stimuli, [1, 2, 100]), responses)

    def test_projections_of_two_seeds_differ(self):
        spec = DeviceSpec(5, 5)
        one, other = (LinearProjection(spec, seed=seed).projection for seed in (0, 1))
        assert not np.allclose(one, other)

    def test_the_limits_of_the_replaced_device_hold(self):
        spec = DeviceSpec(3, 2, input_high=0.5)
        for device in (Zeros(spec), LinearProjection(spec)):
            with pytest.raises(LimitError):
                device.measure([[0.0, 0.6, 0.0]])


@pytest.mark.parametrize(
    "wrap",
    [lambda d: Averaged(d, 2), lambda d: Quantized(d, dac_bits=4), lambda d: Drifting(d, gain_per_row=0.1)],
    ids=["averaged", "quantized", "drifting"],
)
def test_wrappers_pass_on_opening_closing_and_identity(wrap):
    class Switch(Echo):
        state = "new"

        def open(self):
            self.state = "open"

        def close(self):
            self.state = "safe"

        def identify(self):
            return "switch no. 7"

    switch = Switch()
    with wrap(switch) as device:
        assert switch.state == "open"
        assert "switch no. 7" in device.identify()
        assert device.identify() != "switch no. 7"
    assert switch.state == "safe"
