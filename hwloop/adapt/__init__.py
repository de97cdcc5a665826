"""Keep a trained network alive on a device that moves, within a hard budget of rows a step."""

from hwloop.adapt.adapter import AdaptationStep, Adapter
from hwloop.adapt.anchors import Anchors
from hwloop.adapt.policy import Observed, Policy, Together, policy

__all__ = ["AdaptationStep", "Adapter", "Anchors", "Observed", "Policy", "Together", "policy"]
