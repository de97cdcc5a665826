"""Reference stimuli: they show how far a device has moved since it was first measured."""

from hwloop.reference.drift import Change, Noise, Responses
from hwloop.reference.fingerprint import Fingerprint, Reference

__all__ = ["Change", "Fingerprint", "Noise", "Reference", "Responses"]
