"""A twin: a surrogate fitted to measured stimulus and response pairs, which answers as a device does."""

from hwloop.twin.candidate import Candidate, Model
from hwloop.twin.device import Twin
from hwloop.twin.fitting import fit
from hwloop.twin.report import CandidateScore, TwinReport
from hwloop.twin.residual_noise import ResidualNoise

__all__ = ["Candidate", "CandidateScore", "Model", "ResidualNoise", "Twin", "TwinReport", "fit"]
