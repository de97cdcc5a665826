"""The leaky integrate-and-fire neuron against closed forms: rates, first spikes, potentials, shot noise."""

import numpy as np
import pytest

from hwloop.simulators.spiking.coding import PoissonEncoding
from hwloop.simulators.spiking.engine import Window
from hwloop.simulators.spiking.layer import SpikingLayer
from hwloop.simulators.spiking.lif import TorchLIF
from hwloop.simulators.spiking.neuron import DiscreteLIF, LIFNeuron

TAU = 0.02


def biased(currents, neuron, step_seconds, seconds):
    """An engine of neurons that nothing drives but a current of each one's own, and its window."""
    window = Window.from_seconds(step_seconds, seconds, 0.0)
    silence = np.zeros((1, len(currents)))
    return TorchLIF(SpikingLayer(silence, neuron.discrete(step_seconds, currents)), window)


def activity(engine, name):
    """Of one row without input."""
    return engine.run(np.zeros((1, engine.layer.n_inputs)), [name])[name][0]


def rates(currents, neuron, step_seconds, seconds):
    """From the times of the first and last spike, per second."""
    trains = activity(biased(currents, neuron, step_seconds, seconds), "spikes").T
    times = [step_seconds * np.flatnonzero(train) for train in trains]
    return np.array([(len(t) - 1) / (t[-1] - t[0]) if len(t) > 1 else 0.0 for t in times])


@pytest.mark.parametrize("refractory_seconds", [0.0, 0.002])
def test_rate_against_current(refractory_seconds):
    """f = 1 / (t_ref + tau ln(I / (I - 1))) (Gerstner et al., Neuronal Dynamics, section 1.3)."""
    currents = np.linspace(1.02, 4.0, 60)
    neuron = LIFNeuron(TAU, 0.0, refractory_seconds)
    expected = 1 / (refractory_seconds + TAU * np.log(currents / (currents - 1)))
    np.testing.assert_allclose(rates(currents, neuron, 5e-5, 0.5), expected, rtol=0.01)


def test_no_neuron_fires_below_the_rheobase():
    below, above = np.array([-1.0, 0.5, 0.999]), np.array([1.001])
    assert activity(biased(below, LIFNeuron(TAU, 0.0), 5e-4, 1.0), "counts").max() == 0
    assert activity(biased(above, LIFNeuron(TAU, 0.0), 5e-4, 1.0), "counts").min() > 0


@pytest.mark.parametrize("step_seconds", [1e-3, 1e-4])
def test_first_spike_to_within_a_step(step_seconds):
    currents = np.linspace(1.05, 5.0, 40)
    steps = activity(biased(currents, LIFNeuron(TAU, 0.0), step_seconds, 0.1), "first_spike")
    late = step_seconds * (steps + 1) - TAU * np.log(currents / (currents - 1))
    assert (late >= -1e-12).all()
    assert (late <= step_seconds + 1e-12).all()


def test_refractory_time_limits_the_rate():
    neuron, strong = LIFNeuron(TAU, 0.0, 0.004), np.array([1e3])
    limit = rates(strong, neuron, 2e-5, 0.1)
    np.testing.assert_allclose(limit, 1 / 0.004, rtol=0.01)
    # A neuron that is driven without end fires in the first step that it may.
    np.testing.assert_allclose(rates(strong, neuron, 1e-3, 0.1), 1 / 0.005)


def test_reset_by_subtraction_loses_no_charge():
    """Without leak a neuron fires once for every threshold of charge, however large the steps."""
    integrator = DiscreteLIF(du=1.0, dv=0.0, bias=np.array([0.13, 0.4, 0.97]), subtract=True)
    engine = TorchLIF(SpikingLayer(np.zeros((1, 3)), integrator), Window(1e-3, 1000))
    np.testing.assert_allclose(activity(engine, "counts"), [130, 400, 970], atol=1)


def test_potential_behind_a_synapse():
    """v(t) = I (1 - (tau e^(-t/tau) - tau_s e^(-t/tau_s)) / (tau - tau_s)), approached as the step goes to 0."""
    tau_s, t, current = 0.005, 0.03, 0.8
    exact = current * (1 - (TAU * np.exp(-t / TAU) - tau_s * np.exp(-t / tau_s)) / (TAU - tau_s))
    errors = []
    for step in (1e-3, 1e-4):
        neuron = LIFNeuron(TAU, tau_s)
        du, dv = neuron.decays(step)
        layer = SpikingLayer(np.array([[du * dv]]), neuron.discrete(step))
        (found,) = TorchLIF(layer, Window.from_seconds(step, t, 0.0)).run(np.full((1, 1), current), ["membrane"])[
            "membrane"
        ][0]
        errors.append(abs(found - exact))
    assert errors[0] < 0.02
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.1)  # first order


def test_a_spike_through_a_weight_of_one_moves_the_potential_by_one_threshold():
    window, drive = Window(1e-4, 3000), np.zeros((1, 3000, 1))
    drive[0, 0] = 1
    for tau_s in (0.0, 0.002):
        neuron = LIFNeuron(1000.0, tau_s)  # practically no leak
        layer = SpikingLayer(np.array([[0.9 * neuron.decays(1e-4)[0]]]), neuron.discrete(1e-4))
        assert TorchLIF(layer, window).run(drive, ["membrane"])["membrane"][0, 0] == pytest.approx(0.9, rel=1e-3)


def test_a_spike_goes_round_a_ring_one_neuron_a_step():
    ring = np.roll(np.eye(5), 1, axis=1) * 1.5
    layer = SpikingLayer(1.5 * np.eye(5)[:1], DiscreteLIF(du=1.0, dv=1.0), ring)
    drive = np.zeros((1, 12, 1))
    drive[0, 0] = 1
    spikes = TorchLIF(layer, Window(1e-3, 12)).run(drive, ["spikes"])["spikes"][0]
    np.testing.assert_array_equal(spikes.argmax(axis=1), np.arange(12) % 5)
    np.testing.assert_array_equal(spikes.sum(axis=1), 1)


class TestPoisson:
    rows, channels, rate = 400, 50, 80.0
    window = Window(5e-4, 400)

    def trains(self):
        encoding = PoissonEncoding(160.0, self.window.step_seconds)
        rngs = [np.random.default_rng(np.random.SeedSequence([0, 0, k])) for k in range(self.rows)]
        return encoding.drive(np.full((self.rows, self.channels), 0.5), self.window, rngs)

    def test_mean_and_variance_of_counts(self):
        counts = self.trains().sum(axis=1, dtype=np.int64)
        chance = self.rate * self.window.step_seconds
        mean, variance = self.rate * self.window.seconds, self.rate * self.window.seconds * (1 - chance)
        n = counts.size
        assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / n))
        assert counts.var() == pytest.approx(variance, abs=4 * variance * np.sqrt(2 / n))
        assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.1)

    def test_intervals_are_exponential(self):
        # A Poisson process forgets, so rows put end to end are one long train a channel.
        trains = self.trains().swapaxes(0, 2).swapaxes(1, 2).reshape(self.channels, -1)
        intervals = np.concatenate([np.diff(np.flatnonzero(train)) for train in trains])
        chance = self.rate * self.window.step_seconds
        assert intervals.mean() == pytest.approx(1 / chance, rel=0.01)
        for steps in (1, 10, 25, 60):
            assert (intervals > steps).mean() == pytest.approx((1 - chance) ** steps, rel=0.02)

    def test_channels_and_rows_are_independent(self):
        counts = self.trains().sum(axis=1, dtype=np.int64)
        for table in (counts, counts.T[:, :50]):
            off_diagonal = np.corrcoef(table.T)[~np.eye(table.shape[1], dtype=bool)]
            assert abs(off_diagonal.mean()) < 0.01

    def test_potential_under_shot_noise(self):
        """Campbell's theorem: mean w rate tau, variance w^2 rate tau / 2, at a membrane without threshold."""
        weight = 0.1
        neuron = DiscreteLIF(du=1.0, dv=LIFNeuron(TAU, 0.0).decays(5e-4)[1], threshold=np.inf)
        layer = SpikingLayer(weight * np.eye(self.channels), neuron)
        potentials = TorchLIF(layer, self.window).run(self.trains(), ["membrane"])["membrane"]
        assert potentials.mean() == pytest.approx(weight * self.rate * TAU, rel=0.03)
        assert potentials.var() == pytest.approx(weight**2 * self.rate * TAU / 2, rel=0.06)
