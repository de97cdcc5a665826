"""Readouts by the description that a checkpoint holds of them, empty, for their tensors to be loaded into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from hwloop.layers import PhysicalNetwork
from hwloop.layers.network import Readout
from hwloop.training.blocks import BlockHeadSum
from hwloop.training.class_scores import ChannelGroups, ClassPrototypes, ClassScores, Head
from hwloop.training.goodness import CosineToTarget, Goodness, Measure, SquaredActivity
from hwloop.training.plans import LabelOverlay
from hwloop.training.readouts import VIEWS, HeadSum, LabelScan, LinearReadout


def empty_readout(network: PhysicalNetwork, settings: Mapping[str, Any]) -> Readout:
    """An empty readout of the recorded kind, for its tensors to be loaded into."""
    return _RESTORERS[settings["kind"]](network, settings)


def _head_sum(network: PhysicalNetwork, settings: Mapping[str, Any]) -> Readout:
    heads = [
        _CLASS_SCORES[head["kind"]](stage.width, settings["n_classes"], head)
        for (_, stage, _), head in zip(network, settings["heads"], strict=True)
    ]
    return HeadSum(heads)


def _block_head_sum(network: PhysicalNetwork, settings: Mapping[str, Any]) -> Readout:
    widths = [stage.width for _, stage, _ in network]
    if sorted(stage for stages in settings["members"] for stage in stages) != list(range(len(network))):
        raise ValueError(f"its blocks {settings['members']!r:.100} do not hold each of {len(network)} stages once")
    rng = torch.Generator().manual_seed(0)
    heads = [
        Head(sum(widths[stage] for stage in stages), settings["n_classes"], 0.0, rng).linear
        for stages in settings["members"]
    ]
    return BlockHeadSum(heads, settings["members"])


def _label_scan(network: PhysicalNetwork, settings: Mapping[str, Any]) -> Readout:
    goodnesses = [
        Goodness(
            _MEASURES[goodness["kind"]](stage.width),
            float(goodness["slope"]),
            threshold=float(goodness["threshold"]),
        )
        for (_, stage, _), goodness in zip(network, settings["goodnesses"], strict=True)
    ]
    return LabelScan(goodnesses, _overlay(settings["amplitude"]), settings["n_classes"])


def _linear(network: PhysicalNetwork, settings: Mapping[str, Any]) -> Readout:
    rows, classes = settings["shape"]
    amplitude = settings["amplitude"]
    overlay = None if amplitude is None else _overlay(amplitude)
    weight = torch.zeros(rows, classes, dtype=torch.float32)
    bias = torch.zeros(classes, dtype=torch.float32)
    return LinearReadout(weight, bias, VIEWS[settings["view"]], overlay)


def _overlay(amplitude: float) -> LabelOverlay:
    overlay = LabelOverlay()
    overlay.amplitude = float(amplitude)
    return overlay


_CLASS_SCORES: dict[str, Callable[[int, int, Mapping[str, Any]], ClassScores]] = {
    Head.kind: lambda width, classes, _: Head(width, classes, 0.0, torch.Generator().manual_seed(0)),
    ChannelGroups.kind: lambda width, classes, of: ChannelGroups(width, classes, float(of["slope"]), 0.0),
    ClassPrototypes.kind: lambda width, classes, of: ClassPrototypes(
        torch.zeros(classes, width, dtype=torch.float32), float(of["slope"]), 0.0
    ),
}
_MEASURES: dict[str, Callable[[int], Measure]] = {
    CosineToTarget.kind: lambda width: CosineToTarget(torch.ones(width, dtype=torch.float32)),
    SquaredActivity.kind: SquaredActivity,
}
_RESTORERS: dict[str, Callable[[PhysicalNetwork, Mapping[str, Any]], Readout]] = {
    "head-sum": _head_sum,
    "block-head-sum": _block_head_sum,
    "label-scan": _label_scan,
    "linear": _linear,
}
