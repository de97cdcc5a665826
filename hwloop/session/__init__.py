"""Sessions measure on a device for a trainer: they count, remember, record and limit rows."""

from hwloop.session.account import PURPOSES, Forecast, Ledger
from hwloop.session.known_rows import Freshness, RowMemory
from hwloop.session.measurement import Measurement
from hwloop.session.session import Session

__all__ = ["PURPOSES", "Forecast", "Freshness", "Ledger", "Measurement", "RowMemory", "Session"]
