"""Trainers that learn what lies inside the devices: their tunables, with a digital readout beside."""

from __future__ import annotations

import dataclasses

from hwloop.training.optimiser import AdamSettings
from hwloop.training.plans import PlainRows
from hwloop.training.readouts.linear import FeatureSoftmaxBuilder
from hwloop.training.rules.tuning import ExactTuning, ParameterShift, Perturbation, TuningRule, TwinTuning
from hwloop.training.rules.tuning_search import (
    CoordinateSweep,
    CovarianceMatrixAdaptation,
    Genetic,
    ParameterExploration,
)
from hwloop.training.schedules.in_situ import InSitu, InSituSettings
from hwloop.training.trainer import Trainer
from hwloop.training.trainers import declared, offering
from hwloop.training.tuning import Choice, LogRange

READOUT = AdamSettings(epochs=60, lr=0.01, weight_decay=0.01, response_noise=0.1)
LR = LogRange(3e-4, 3e-2)
HEAD: dict[str, LogRange | Choice] = {
    "head_lr": LogRange(3e-3, 5e-2),
    "input_noise": Choice((0.0, 0.05, 0.1, 0.2)),
}


def _tuned(**own: LogRange | Choice) -> dict[str, LogRange | Choice]:
    return own | HEAD


def _in_situ(rule: TuningRule, settings: InSituSettings) -> Trainer:
    schedule = InSitu(lambda: dataclasses.replace(rule), settings)
    return Trainer(PlainRows(), schedule, lambda: FeatureSoftmaxBuilder(READOUT))


@declared(
    learns="the device's tunables, by the error of each output times that output's own difference",
    rows="(`directions` + 1) E + 1",
    fills_budget="epochs",
    tuned=_tuned(lr=LR, directions=Choice((1, 3, 7))),
)
def tune_outputs(
    rule: Perturbation = offering(Perturbation(), "lr", "directions", "size", "sides"),
    settings: InSituSettings = InSituSettings(),
) -> Trainer:
    """Simultaneous perturbation with credit an output; (directions + 1) epochs + 1 rows a sample.

    A batch is measured as the device is tuned and with all tunables moved by +-h at once, by random signs D. The
    tunables that act on output j are credited with the sum over samples of dL/dy_j (y_j(moved) - y_j) D / h, and
    not with the loss, which all other outputs change too. It assumes that each tunable acts on one output. The
    device says on which (``tunable_outputs``), or the two usual numberings are tried; a few rows at the start
    contradict or agree. Where they contradict, all tunables are credited with the whole change, as ``tune-spsa``
    does, and a notice says so. With ``sides="both"`` every direction is measured forth and back.

    Needs tunables.

    Source: Spall, IEEE Trans. Automatic Control 37, 332 (1992), for one loss; here for every output.
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, by the loss with all of them moved by random signs there and back",
    rows="2 `directions` E + 1",
    fills_budget="epochs",
    tuned=_tuned(lr=LR, directions=Choice((1, 2, 4))),
)
def tune_spsa(
    rule: Perturbation = offering(
        Perturbation(credit="loss", sides="both", directions=1), "lr", "directions", "size"
    ),
    settings: InSituSettings = InSituSettings(),
) -> Trainer:
    """Simultaneous perturbation of the tunables, one loss for all; 2 directions epochs + 1 rows a sample.

    dtheta = (L(theta + h D) - L(theta - h D)) / 2h D, D random signs, L the mean loss of a batch.

    Needs tunables; each may act on any output.

    Source: Spall, IEEE Trans. Automatic Control 37, 332 (1992).
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, by the loss under orthogonal codes, added up over several batches",
    rows="(`directions` + 1) E + 1",
    fills_budget="epochs",
    tuned=_tuned(lr=LR, accumulate=Choice((1, 4, 16))),
)
def tune_mgd(
    rule: Perturbation = offering(
        Perturbation(credit="loss", codes="walsh", directions=1, accumulate=4),
        *("lr", "directions", "size", "accumulate", "codes"),
    ),
    settings: InSituSettings = InSituSettings(),
) -> Trainer:
    """Multiplexed gradient descent (MGD) on the tunables; (directions + 1) epochs + 1 rows a sample.

    Every tunable is moved by a code of its own, a row of a Hadamard matrix over successive directions, and what
    the loss changes by is multiplied with the code and added up over ``accumulate`` batches before a step.

    Needs tunables; each may act on any output.

    Source: McCaughan et al., APL Machine Learning 1, 026118 (2023).
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, by shifts of single ones a quarter period forth and back",
    rows="(2 `shifts` + 1) E + 1",
    fills_budget="epochs",
    tuned=_tuned(lr=LR, shifts=Choice((2, 4, 8))),
)
def tune_shift(rule: ParameterShift = ParameterShift(), settings: InSituSettings = InSituSettings()) -> Trainer:
    """Parameter shift: exact derivatives from large shifts; (2 shifts + 1) epochs + 1 rows a sample.

    Where a response is a sinusoid of a tunable with frequency f, dy/dtheta = f/2 (y(theta + pi/2f) -
    y(theta - pi/2f)), whatever the size of the shift: noise counts less than in a small difference. A few tunables
    are drawn for every batch.

    Needs tunables of which the device says that its response is a sinusoid (``tuning_frequencies``).

    Source: Mitarai et al., Phys. Rev. A 98, 032309 (2018); Schuld et al., Phys. Rev. A 99, 032331 (2019).
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, by CMA-ES on the loss",
    rows="`population` E + 1",
    fills_budget="epochs",
    tuned=_tuned(spread=Choice((0.03, 0.1, 0.3)), population=Choice((8, 16, 32))),
)
def tune_cmaes(
    rule: CovarianceMatrixAdaptation = CovarianceMatrixAdaptation(), settings: InSituSettings = InSituSettings()
) -> Trainer:
    """Covariance matrix adaptation (CMA-ES) of the tunables; population times epochs + 1 rows a sample.

    A population is drawn about a mean and measured on the same batch; the losses' ranks move mean and covariance.
    More than 100 tunables have a diagonal covariance.

    Needs tunables, two or more, and the package: ``pip install 'hwloop[tuning]'``.

    Source: Hansen, arXiv:1604.00772; separable: Ros and Hansen, PPSN 2008.
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, by a mean and a standard deviation of each, from pairs",
    rows="`population` E + 1",
    fills_budget="epochs",
    tuned=_tuned(spread=Choice((0.02, 0.05, 0.1)), step=Choice((0.1, 0.2, 0.4))),
)
def tune_pepg(
    rule: ParameterExploration = ParameterExploration(), settings: InSituSettings = InSituSettings()
) -> Trainer:
    """Parameter-exploring policy gradients (PEPG) on the tunables; population times epochs + 1 rows a sample.

    Pairs on either side of the mean: half the difference of their losses moves the mean, their mean loss against
    that of the other pairs the standard deviations.

    Needs tunables.

    Source: Sehnke et al., Neural Networks 23, 551 (2010).
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, one after the other: what lessens the loss stays",
    rows="(`trials` + 1) E + 1",
    fills_budget="epochs",
    tuned=_tuned(trials=Choice((3, 7, 15)), reach=Choice((0.1, 0.3, 1.0))),
)
def tune_sweep(rule: CoordinateSweep = CoordinateSweep(), settings: InSituSettings = InSituSettings()) -> Trainer:
    """Coordinate sweeps over the tunables; (trials + 1) epochs + 1 rows a sample.

    Every tunable comes once in a sweep, in a random order: a binary one is flipped, another tried elsewhere. Of
    the trials that a batch is measured with, the best one stays if its loss is less.

    Needs tunables; made for binary ones, such as the pixels of a microwave cavity.

    Source: Vellekoop and Mosk, Optics Communications 281, 3071 (2008).
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, by a genetic search on the loss",
    rows="`population` E + 1",
    fills_budget="epochs",
    tuned=_tuned(population=Choice((8, 16, 32)), mutated=Choice((0.03, 0.1))),
)
def tune_genetic(rule: Genetic = Genetic(), settings: InSituSettings = InSituSettings()) -> Trainer:
    """Genetic search for the tunables; population times epochs + 1 rows a sample.

    The better half of a population stays, and breeds the other half: each value from one of two parents, who are
    drawn by rank, and a share of the values, which falls in the course of a fit, drawn anew.

    Needs tunables; made for binary ones.

    Source: Conkey, Brown, Caravaca-Aguirre and Piestun, Optics Express 20, 4840 (2012).
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, by a twin of stimuli and tunables fitted to the run's rows: **uses a model**",
    rows="E + 1",
    fills_budget="epochs",
    tuned=_tuned(lr=LR, size=Choice((0.02, 0.05, 0.1))),
)
def tune_twin(rule: TwinTuning = TwinTuning(), settings: InSituSettings = InSituSettings()) -> Trainer:
    """Tunables by the derivative of a twin; epochs + 1 rows a sample.

    Every batch is measured with the tunables moved a little at random. After epochs 1, 2, 4, ... a twin
    (:mod:`hwloop.twin`) is fitted from stimuli and tunables to the responses, and its derivative by the tunables
    at the measured rows is descended along. A twin of very many tunables needs many rows to be of use.

    Needs tunables, few rather than many. It uses a model, and every output says so.

    Source: physics-aware training, Wright et al., Nature 601, 549 (2022), there by the inputs.
    """
    return _in_situ(rule, settings)


@declared(
    learns="the device's tunables, by the simulated device's own derivative: **uses a model**",
    rows="E + 1",
    fills_budget="epochs",
    tuned=_tuned(lr=LR),
)
def tune_exact(
    rule: ExactTuning = ExactTuning(lr=0.006), settings: InSituSettings = InSituSettings(epochs=19)
) -> Trainer:
    """Exact gradients of the tunables, the yardstick; epochs + 1 rows a sample.

    Forward through the device, noise and all; backward by the derivative that the simulation tells
    (``pull_back_tuning``).

    Needs tunables whose derivative a device tells, as only a simulation can. It uses a model, and every output
    says so.

    Source: Rumelhart, Hinton and Williams, Nature 323, 533 (1986).
    """
    return _in_situ(rule, settings)
