"""The digital update: steps, learning rate, batches, noise on stored responses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import hwloop
from hwloop.errors import ConfigError
from hwloop.training.optimiser import AdamSettings, ResponseNoise, one_cycle_adamw, shuffled_batches
from hwloop.training.rules import windows
from hwloop.training.schedules.online import OnlineSettings


@pytest.mark.parametrize("steps", [*range(1, 25), 330])
def test_the_learning_rate_rises_to_its_peak_and_falls_for_any_number_of_steps(steps):
    parameter = nn.Parameter(torch.zeros(1))
    optimiser, schedule = one_cycle_adamw([parameter], AdamSettings(lr=0.01), steps)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        parameter.grad = torch.ones(1)
        optimiser.step()
        schedule.step()
    assert max(rates) <= 0.01 + 1e-12
    if steps > 20:
        peak = int(np.argmax(rates))
        assert peak == pytest.approx(steps / 10, abs=2)
        assert max(rates) == pytest.approx(0.01, rel=0.05)
        assert rates[-1] < 1e-4
        assert (np.diff(rates[peak:]) < 0).all()


def test_weight_decay_is_decoupled_and_multiplied_by_the_learning_rate():
    parameter = nn.Parameter(torch.ones(1))
    optimiser, _ = one_cycle_adamw([parameter], AdamSettings(lr=0.1, weight_decay=0.5), 100)
    rate = optimiser.param_groups[0]["lr"]
    parameter.grad = torch.zeros(1)
    optimiser.step()
    assert float(parameter.detach()) == pytest.approx(1 - rate * 0.5, rel=1e-6)


def test_a_small_training_set_still_gets_the_least_number_of_steps():
    settings = AdamSettings(epochs=30, min_steps=300, batch_samples=128)
    assert settings.steps(10) == 300
    assert settings.steps(1347) == 30 * 11


def test_every_pass_shows_each_sample_at_most_once_in_a_new_order():
    batches = shuffled_batches(10, 5, torch.Generator().manual_seed(0))
    passes = [torch.cat(list(itertools.islice(batches, 2))) for _ in range(3)]
    assert all(sorted(order.tolist()) == list(range(10)) for order in passes)
    assert not torch.equal(passes[0], passes[1])


def test_batches_are_full_and_a_batch_may_be_the_whole_set():
    batches = shuffled_batches(10, 4, torch.Generator().manual_seed(0))
    assert {len(next(batches)) for _ in range(9)} == {4}
    assert len(next(shuffled_batches(3, 128, torch.Generator()))) == 3


def test_noise_on_stored_responses_is_gaussian_and_drawn_at_new_offsets():
    noise = ResponseNoise(0.3, 100 * 200, torch.Generator().manual_seed(0))
    features = torch.ones(100, 200)
    first, second = (noise.added_to(features) - 1 for _ in range(2))
    assert float(first.std()) == pytest.approx(0.3, rel=0.03)
    assert float(first.mean()) == pytest.approx(0, abs=0.01)
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.05
    assert float((features - 1).abs().max()) == 0  # the stored ones stay as they are


def test_no_noise_is_no_change():
    features = torch.arange(12.0).reshape(3, 4)
    assert ResponseNoise(0.0, 12, torch.Generator()).added_to(features) is features


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("steps", [1, 7, 300, 331])
def test_windows_grow_end_with_all_samples_and_share_out_every_step(samples, steps):
    plan = windows(samples, steps)
    sizes = [size for size, _ in plan]
    assert sizes == sorted(sizes)
    assert sizes[-1] == samples
    assert min(sizes) >= 1
    assert sum(count for _, count in plan) == steps


@pytest.mark.parametrize("settings", [AdamSettings, OnlineSettings])
@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "3"])
def test_counts_that_are_no_counts_are_refused(settings, bad):
    with pytest.raises(ValueError, match="epochs must be a whole number"):
        settings(epochs=bad)


@pytest.mark.parametrize("settings", [AdamSettings, OnlineSettings])
@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_learning_rate_that_is_not_positive_is_refused(settings, bad):
    with pytest.raises(ValueError, match="lr must be positive"):
        settings(lr=bad)


@pytest.mark.parametrize("name", ["weight_decay", "response_noise"])
@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_a_decay_or_noise_below_zero_is_refused(name, bad):
    with pytest.raises(ValueError, match=name):
        AdamSettings(**{name: bad})


@pytest.mark.parametrize("value", ["0.1", None, [0.1], 1j, float("nan")], ids=repr)
def test_what_is_no_number_is_refused_in_the_words_of_its_range(value):
    with pytest.raises(ConfigError, match=r"lr must be positive and finite, not "):
        hwloop.trainer("local", lr=value)
