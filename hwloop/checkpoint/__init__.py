"""A trained network on disk: tensors as safetensors, everything else as JSON; nothing in it can execute code."""

from hwloop.checkpoint.file import read_checkpoint, read_description, read_tensors
from hwloop.checkpoint.network import load_network, network_tensors, read_training, save_network

__all__ = [
    "load_network",
    "network_tensors",
    "read_checkpoint",
    "read_description",
    "read_tensors",
    "read_training",
    "save_network",
]
