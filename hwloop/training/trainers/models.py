"""Trainers that take a derivative through the device: its own, a twin's, or one measured by nudging it."""

from __future__ import annotations

from hwloop.training.optimiser import Adam
from hwloop.training.plans import PlainRows
from hwloop.training.readouts.linear import FeatureSoftmaxBuilder
from hwloop.training.rules.chain_rule import ExactChainRule, NudgedStates, TwinChainRule
from hwloop.training.schedules.output_error import InterfaceNoise
from hwloop.training.schedules.rehearsal import Rehearsal, RehearsalSettings
from hwloop.training.trainer import Trainer
from hwloop.training.trainers import declared
from hwloop.training.trainers.output_error import Learning, learns_from_output_error
from hwloop.training.tuning import Choice, LogRange

NOISES = (0.1, 0.2, 0.4, 0.8)


@learns_from_output_error(
    learns="how far nudged outputs move what the inputs push on; needs a device with nudges; "
    '`states="one-sided"`: a row less',
    later="3 E + 1; one-sided 2 E + 1",
    tuned={"lr": LogRange(3e-4, 3e-2), "size": Choice((0.1, 0.2, 0.4))},
)
def eqprop(rule: NudgedStates = NudgedStates(), update: Adam = Adam()) -> Learning:
    """Equilibrium propagation: nudged states of the device give the gradient; 3 epochs + 1 rows a later stage.

    A device after the first is measured free and, with g = dL/dy for forces on its outputs y, nudged by +beta g
    and by -beta g. It settles where an energy is least, so it is reciprocal: how far its driven degrees of freedom
    move is the gradient by the forces u that drive them, dL/du = (y(+beta) - y(-beta)) / 2 beta there, and
    dW = E^T dL/du f^T, E the encoder. Its error grows as beta^2, that from the noise of readings as 1 / beta.
    g is the error at the output, carried back by the transposed weights of head and maps.

    Needs devices with nudges (``DeviceSpec.n_nudges``) in all stages but the first.

    Source: Scellier and Bengio, Frontiers in Computational Neuroscience 11, 24 (2017); symmetric: Laborieux et
    al., Frontiers in Neuroscience 15, 633674 (2021); in oscillators: Wang, Wanjura and Marquardt, Neuromorphic
    Computing and Engineering 4, 034014 (2024).
    """
    return rule, update


@learns_from_output_error(
    learns="backpropagation with the simulated device's own derivative: **uses a model**",
    later="E + 1",
    tuned={
        "lr": LogRange(3e-4, 3e-2),
        "batch_samples": Choice((32, 64, 128)),
        "weight_decay": LogRange(0.03, 3.0),
        "response_noise": Choice(NOISES),
        "interface_noise": Choice((0.0, 0.2, 0.4, 0.8)),
    },
)
def exact_gradient(noise: InterfaceNoise = InterfaceNoise(), update: Adam = Adam()) -> Learning:
    """Exact gradients, the yardstick: backpropagation with the simulated device's own derivative.

    Forward through the device, noise and all; backward dL/dz_l = E^T J^T W'^T dL/dz_(l+1), J the derivative of the
    noiseless response and E of the encoder; dW = dL/dz f^T.

    Needs a device that tells its derivative, as only a simulation can. It uses a model, and every output says
    so.

    Source: Rumelhart, Hinton and Williams, Nature 323, 533 (1986).
    """
    return ExactChainRule(), update


@learns_from_output_error(
    learns="backpropagation through a twin fitted to the run's own rows: **uses a model**",
    later="E + 1",
    tuned={"lr": LogRange(3e-4, 3e-2), "twin": Choice(("linear", "modulus"))},
)
def physics_aware(
    noise: InterfaceNoise = InterfaceNoise(), rule: TwinChainRule = TwinChainRule(), update: Adam = Adam()
) -> Learning:
    """Physics-aware training: forward through the device, backward through a twin; epochs + 1 rows a later stage.

    dL/dz_l = E^T J^T W'^T dL/dz_(l+1) as in backpropagation, with J the derivative of a twin (:mod:`hwloop.twin`)
    at the measured stimuli. The twin is fitted to the run's own rows and again as the stimuli move, after epochs
    1, 4, 16, ...; it costs no row.

    Needs a device that a twin can follow. It uses a model, and every output says so.

    Source: Wright et al., Nature 601, 549 (2022).
    """
    return rule, update


@declared(
    learns="a linear head on the next device's responses, as a twin fitted to the run's own rows has them "
    "(**uses a model**)",
    rows="1",
    tuned={
        "lr": LogRange(1e-3, 3e-2),
        "weight_decay": LogRange(0.03, 3.0),
        "input_noise": Choice((0.0, 0.2, 0.4, 0.6)),
        "interface_noise": Choice(NOISES),
        "response_noise": Choice(NOISES),
    },
)
def lookahead(settings: RehearsalSettings = RehearsalSettings(), *, twin: str = "intensity") -> Trainer:
    """Look one device ahead, through a twin fitted to some of the run's own rows; 1 row a sample a stage.

    A later stage first measures a ``share`` of the training rows on the outputs of a random map; a twin g is
    fitted to them. Then the map W before the stage minimises cross-entropy(V [f, g(W f + n)] + b), with f the
    features measured so far and n noise, by backpropagation through the twin, for as many epochs as it takes: they
    cost no row. The other rows are measured with the trained map, and a softmax readout sees the responses of
    all stages. So every nonlinearity of a prediction is physical. ``twin`` is as for ``physics-aware``.

    Needs a device that a twin can follow, and ``share`` of the training rows to be several times as many as
    the device's inputs. It uses a model, and every output says so.

    Source: physics-aware training, Wright et al., Nature 601, 549 (2022), whose forward pass is measured in
    every epoch; here it is the twin's too, and one map at a time looks no further than the next device.

    Parameters
    ----------
    twin
        ``"intensity"``, ``"linear"`` or ``"mlp"``, as for ``physics-aware``.
    """
    return Trainer(PlainRows(), Rehearsal(twin, settings), FeatureSoftmaxBuilder)
