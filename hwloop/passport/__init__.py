"""A device's passport: what it computes and remembers, measured before anything is trained on it."""

from hwloop.passport.capacity import Capacity, Samples, capacity
from hwloop.passport.characterise import Passport, characterise
from hwloop.passport.drive import Drive, FedBack, RowAfterRow, RowsAlone, WithinRow, drive_of
from hwloop.passport.forecast import TaskForecast
from hwloop.passport.plan import PassportPlan, plan_passport

__all__ = [
    "Capacity",
    "Drive",
    "FedBack",
    "Passport",
    "PassportPlan",
    "RowAfterRow",
    "RowsAlone",
    "Samples",
    "TaskForecast",
    "WithinRow",
    "capacity",
    "characterise",
    "drive_of",
    "plan_passport",
]
