"""The one road from a trainer to a device: it counts, remembers, records and caps what is measured."""

from hwloop.reference import Reference
from hwloop.session.account import PURPOSES, Forecast, Ledger
from hwloop.session.known_rows import Freshness, RowMemory
from hwloop.session.measurement import Measurement
from hwloop.session.session import Session

__all__ = ["PURPOSES", "Forecast", "Freshness", "Ledger", "Measurement", "Reference", "RowMemory", "Session"]
