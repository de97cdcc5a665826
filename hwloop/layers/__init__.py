"""The network: stages that encode, measure, standardise and map, with a device as the only nonlinearity."""

from hwloop.layers.encode import Encoder
from hwloop.layers.network import PhysicalNetwork
from hwloop.layers.stage import Stage
from hwloop.layers.standardise import Standardiser

__all__ = ["Encoder", "PhysicalNetwork", "Stage", "Standardiser"]
