"""What earlier runs measured on the same device: rows that need not be measured again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hwloop.journal import Journal
from hwloop.session.memory import Freshness, RowMemory
from hwloop.session.one_unit import unvouched_rows
from hwloop.session.row_index import row_keys
from hwloop.session.same_device import DeviceAtHand, RecordedDevice, in_words


@dataclass(frozen=True)
class EarlierRows:
    """The rows of a journal that stand for the device at hand.

    Attributes
    ----------
    memory
        Finds them.
    fingerprints
        What they are filed under.
    different
        Where there are none: in what the recorded device was another one, in words.
    """

    memory: RowMemory
    fingerprints: frozenset[str]
    different: str = ""


def earlier_rows(
    journal: Journal, device: DeviceAtHand, decided: tuple[str, ...] | None, freshness: Freshness
) -> EarlierRows:
    """The rows that a journal holds of one device under the same settings.

    Parameters
    ----------
    journal
        Is only read.
    decided
        The fingerprints that the run took when it began, if it goes on now: it stays with them.
    freshness
        Its limit in seconds holds here too; one in rows does not, for the rows of another run have no place in
        the order of this one's.
    """
    memory = RowMemory(journal, Freshness(seconds=freshness.seconds))
    named = {recorded.fingerprint: recorded for recorded in RecordedDevice.named_in(journal)}
    own = _own_fingerprints(device, named) if decided is None else frozenset(decided)
    others: Counter[str] = Counter()
    unvouched = unvouched_rows(journal)
    for record in journal.records():
        if any(record.first_row in rows for rows in unvouched):
            continue
        if record.device in own:
            memory.remember(row_keys(record.stimuli), record.first_row)
        else:
            others[record.device] += len(record.stimuli)
    return EarlierRows(memory, own, "" if len(memory) else _differences(device, named, others))


def _own_fingerprints(device: DeviceAtHand, named: dict[str, RecordedDevice]) -> frozenset[str]:
    """What rows of this very device may be filed under; an old fingerprint only if it left nothing out."""
    own = {device.description.digest()}
    if device.old_is_certain:
        own.add(device.old_fingerprint)
    own |= {each.fingerprint for each in named.values() if each.description and not each.differences(device)}
    return frozenset(own)


def _differences(device: DeviceAtHand, named: dict[str, RecordedDevice], others: Counter[str]) -> str:
    """How the device at hand differs from the recorded one that is most like it."""
    if not others:
        return ""
    if device.old_fingerprint in others:
        return (
            f"{others[device.old_fingerprint]:,} rows of {device.identity} were recorded before devices were "
            "described in full, and that does not say every setting"
        )
    found = [named[each].differences(device) for each in others if each in named]
    described = [named[each].description for each in others if each in named]
    alike = [
        words
        for words, description in zip(found, described, strict=True)
        if description is not None and description.name == device.description.name
    ]
    return in_words(min(alike or found, key=len)) if found else ""
