"""Keeps a device whose state goes on from row to row in the state that its journal says."""

from __future__ import annotations

import numpy as np

from hwloop.device import Device
from hwloop.device.spec import Float64Array
from hwloop.device.wrapper import declared, parts
from hwloop.errors import ConfigError, StimulusError
from hwloop.events import StreamRedriven
from hwloop.journal import Journal

LOOKED_AT_ONCE = 1024  # rows of the journal


class Stream:
    """Knows whether a device that streams stands where the last recorded row left it, and brings it there if not.

    Raises
    ------
    ConfigError
        A wrapper around it would measure rows again, leave some out or deal them out.
    """

    def __init__(self, device: Device, journal: Journal) -> None:
        self._device = device
        self._journal = journal
        self._answered: int | None = None  # rows that the device had answered then; None where nobody knows
        _check_wrappers(device)

    def lost(self) -> None:
        """The device was opened, or a call of it failed: nobody knows where it stands."""
        self._answered = None

    def bring_before(self, stimuli: Float64Array, position: int) -> None:
        """Have the device stand where rows that follow row ``position - 1`` of the journal need it.

        Where its state was lost the recorded rows since the last reset are driven again, and their answers thrown
        away, for they are in the journal. They are told (:class:`hwloop.events.StreamRedriven`) and not counted.

        Raises
        ------
        StimulusError
            No recorded row resets the device, nor does the first of these.
        """
        spec = self._device.spec
        if spec.resets(stimuli[:1])[0] or self._answered == self._device.rows_answered:
            return
        first = self._last_reset(position)
        if first is None:
            raise StimulusError(
                f"the state of {type(self._device).__name__} goes on from row to row, and nobody knows it: let "
                "the first row of a sequence begin at rest (its last input, the reset, at its upper limit)"
            )
        self._device.tell(StreamRedriven(position - first, first))
        self._device.continue_from(first)
        rows = np.arange(first, position)
        while len(rows):
            tuning = self._journal.tuning(int(rows[0]))
            alike = self._journal.measured_under(rows, tuning)
            under = len(rows) if alike.all() else int(np.argmin(alike))
            if tuning is not None:
                self._device.tune(tuning)
            self._device.measure(self._journal.read_rows(rows[:under])[0])
            rows = rows[under:]

    def stands(self) -> None:
        """The device has just answered rows that are in the journal, or will be."""
        self._answered = self._device.rows_answered

    def _last_reset(self, position: int) -> int | None:
        for end in range(position, 0, -LOOKED_AT_ONCE):
            rows = np.arange(max(0, end - LOOKED_AT_ONCE), end)
            resets = np.flatnonzero(self._device.spec.resets(self._journal.read_rows(rows)[0]))
            if len(resets):
                return int(rows[resets[-1]])
        return None


def _check_wrappers(device: Device) -> None:
    streaming = [part for part, _ in parts(device) if not part.devices_inside]
    for part, _ in parts(device):
        if not part.devices_inside:
            continue
        handling = declared(part)
        if handling is None or handling.adds_rows or handling.deals_out or handling.reopens:
            raise ConfigError(
                f"the state of {type(streaming[0]).__name__} goes on from row to row, and {type(part).__name__} "
                "around it may measure a row twice, leave one out or hand it to another device; leave it away"
            )
