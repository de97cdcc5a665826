"""Measure a device: gain, nonlinearity, noise, memory, cross-talk, drift, rank and pace, with intervals."""

from hwloop.calibration.calibrate import Calibration, calibrate
from hwloop.calibration.plan import Plan, default_rows, least_rows, plan_rows
from hwloop.calibration.settling_sweep import SettlingSweep, sweep_settling
from hwloop.probing.statistics import Estimate

__all__ = [
    "Calibration",
    "Estimate",
    "Plan",
    "SettlingSweep",
    "calibrate",
    "default_rows",
    "least_rows",
    "plan_rows",
    "sweep_settling",
]
