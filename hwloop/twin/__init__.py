"""A twin: a surrogate fitted to measured stimulus and response pairs, which answers as a device does."""

from hwloop.twin.candidate import Candidate, Model
from hwloop.twin.device import CandidateScore, ResidualNoise, Twin, TwinReport
from hwloop.twin.fitting import fit

__all__ = ["Candidate", "CandidateScore", "Model", "ResidualNoise", "Twin", "TwinReport", "fit"]
