"""A physical layer in anybody's PyTorch model, with a gradient that is chosen by name.

>>> import torch, hwloop
>>> model = torch.nn.Sequential(
...     torch.nn.Linear(8, 12),
...     hwloop.nn.PhysicalLayer("relu-layer", 12, gradient="perturbation", device_settings={"n_outputs": 20}),
...     torch.nn.Linear(20, 3),
... )
>>> model(torch.randn(5, 8)).shape
torch.Size([5, 3])
"""

from hwloop.nn.gradients import (
    GRADIENTS,
    ExactGradient,
    FeedbackGradient,
    LayerGradient,
    NoGradient,
    PerturbationGradient,
    TwinGradient,
)
from hwloop.nn.layer import PhysicalLayer
from hwloop.nn.responses import STANDARDISATIONS, BatchResponses, FittedResponses, RawResponses, ResponseScaling

__all__ = [
    "GRADIENTS",
    "STANDARDISATIONS",
    "BatchResponses",
    "ExactGradient",
    "FeedbackGradient",
    "FittedResponses",
    "LayerGradient",
    "NoGradient",
    "PerturbationGradient",
    "PhysicalLayer",
    "RawResponses",
    "ResponseScaling",
    "TwinGradient",
]
