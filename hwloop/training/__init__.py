"""Trainers: compositions of a stimulus plan, a local rule, a schedule and a readout.

What stands here is stable: a trainer of another package may import it (docs/write-a-trainer.md).
"""

from hwloop.training.history import History, StageHistory
from hwloop.training.objectives import Collaborative, LocalObjective, StageObjective
from hwloop.training.objectives.class_scores import ClassScores, Head, LocalHeads
from hwloop.training.objectives.goodness import Goodness, GoodnessContrast, GoodnessMeasure
from hwloop.training.optimiser import Adam, AdamSettings, GradientDescent, MapGradient, Update
from hwloop.training.options import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    Settings,
    WithOptions,
    chosen,
    one_of,
    option,
    whole_number,
)
from hwloop.training.plans import LabelOverlay, PlainRows, SelfContrast, StimulusPlan, WrongLabels
from hwloop.training.readouts import HeadSum, HeadSumBuilder, LabelScan, LabelScanBuilder, ReadoutBuilder
from hwloop.training.readouts.linear import FeatureSoftmaxBuilder, LinearReadout, RidgeBuilder
from hwloop.training.rules import GradientRule, LocalRule, RandomInterface, StageRows
from hwloop.training.rules.output_error import BatchPass, ErrorRule, OutputGradients, OutputHead, Verdict
from hwloop.training.schedules import Fit, Schedule
from hwloop.training.schedules.stage_by_stage import StageByStage, Streaming
from hwloop.training.trainer import Trainer, trainer
from hwloop.training.trainers import declared, offering
from hwloop.training.tuning import Choice, LogRange, tunable

__all__ = [
    "COUNT",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SHARE",
    "Adam",
    "AdamSettings",
    "BatchPass",
    "Choice",
    "ClassScores",
    "Collaborative",
    "ErrorRule",
    "FeatureSoftmaxBuilder",
    "Fit",
    "Goodness",
    "GoodnessContrast",
    "GoodnessMeasure",
    "GradientDescent",
    "GradientRule",
    "Head",
    "HeadSum",
    "HeadSumBuilder",
    "History",
    "LabelOverlay",
    "LabelScan",
    "LabelScanBuilder",
    "LinearReadout",
    "LocalHeads",
    "LocalObjective",
    "LocalRule",
    "LogRange",
    "MapGradient",
    "OutputGradients",
    "OutputHead",
    "PlainRows",
    "RandomInterface",
    "Range",
    "ReadoutBuilder",
    "RidgeBuilder",
    "Schedule",
    "SelfContrast",
    "Settings",
    "StageByStage",
    "StageHistory",
    "StageObjective",
    "StageRows",
    "StimulusPlan",
    "Streaming",
    "Trainer",
    "Update",
    "Verdict",
    "WithOptions",
    "WrongLabels",
    "chosen",
    "declared",
    "offering",
    "one_of",
    "option",
    "trainer",
    "tunable",
    "whole_number",
]
