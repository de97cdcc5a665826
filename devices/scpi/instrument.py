"""An instrument behind a link: who it must be, and settings that survive a lost connection."""

from __future__ import annotations

import re
from typing import Any

from hwloop.devices.scpi.commands import Command
from hwloop.devices.scpi.link import ScpiLink
from hwloop.devices.scpi.messages import compound
from hwloop.devices.scpi.replies import ANSWERS
from hwloop.errors import BadReading, ConformityError, DeviceChanged, DeviceError

VOUCHING_FIELDS = 3  # maker, model, serial number; what follows is firmware, options, a date


class ScpiInstrument:
    """Base of instruments with a table of commands.

    Each time that the link was opened, this clears the status, asserts who answers, brings the instrument to its
    safe state, sets again every command of the table that was set before, and reads them back.

    Parameters
    ----------
    link
        The link; its ``on_open`` is taken.

    Attributes
    ----------
    models
        Regular expression that a field of ``*IDN?``, or a word of one, must match: instruments differ in how many
        fields they give, and in which order.
    asserted
        Values that were set, as they were sent, by name, in the order in which they were first set.
    """

    models: str = ".*"

    def __init__(self, link: ScpiLink) -> None:
        self.link = link
        self.asserted: dict[str, Any] = {}
        self._known = ""  # what *IDN? said when it was first asked
        link.on_open = lambda _: self.assert_settings()

    def open(self) -> None:
        """Open the link and assert the settings."""
        self.link.open()

    def close(self) -> None:
        """Close the link; bringing the instrument to its safe state is the subclass's part."""
        self.link.close()

    def to_safe_state(self) -> None:
        """Commands that make the instrument harmless; none by default."""

    def set(self, **values: Any) -> None:
        """Set several commands of the table, all checked before the first is sent; one message.

        Raises
        ------
        LimitError
            Nothing was sent.
        DeviceError
            The instrument reports an error.
        """
        commands = {name: self._command(name) for name in values}
        checked = {name: command.checked(values[name], self) for name, command in commands.items()}
        self.link.execute(*(command.text(checked[name], self) for name, command in commands.items()))
        self.asserted |= {name: value for name, value in checked.items() if commands[name].asserted}

    def assert_settings(self) -> None:
        """Identity, safe state and settings, as after a lost connection.

        Raises
        ------
        DeviceChanged
            Another instrument answers than at first.
        DeviceError
            A model that is not driven, or a setting that does not read back.
        """
        self.link.write("*CLS")
        self._assert_identity()
        self.to_safe_state()
        if self.asserted:
            self.set(**self.asserted)
            self._check_settings()

    def _assert_identity(self) -> None:
        """It is a model that is driven, and the same instrument as before."""
        identity = self.link.identify()
        known = self._known or (identity if not identity.isascii() else "")
        if known and (vouching(identity) != vouching(known) or not identity.isascii()):
            identity = self.link.identify()  # once more: it may have been damaged on its way
        if not any(re.fullmatch(self.models, name) for name in _names(identity)):
            raise DeviceError(
                f"{self.link.resource} is {identity!r}, but {type(self).__name__} drives models {self.models}; "
                "check the address"
            )
        if not self._known and known and identity != known:
            raise BadReading(f"{self.link.resource} said that it is {known!r}, then {identity!r}; open it again")
        if known and vouching(identity) != vouching(known):
            raise DeviceChanged(
                f"{self.link.resource} is {identity!r} now, but was {known!r}; "
                "connect that instrument again, or make a new device for this one"
            )
        self._known = self._known or identity

    def _check_settings(self) -> None:
        """Read back what was set; what differs is set and read once more, for a reply may have been damaged."""
        commands = {name: command for name in self.asserted if (command := self._command(name)).readable}
        differing = self._differing(commands) if commands else {}
        if not differing:
            return
        self.set(**{name: self.asserted[name] for name in differing})
        for name, answered in self._differing({name: commands[name] for name in differing}).items():
            hint = (
                ". If that is its step, state it in the driver's table of commands (resolution=...); otherwise"
                if isinstance(answered, float)
                else ":"
            )
            raise ConformityError(
                f"{self.link.resource}: {name} was set to {self.asserted[name]!r} but reads {answered!r}, twice"
                f"{hint} the instrument does not take this value, or somebody else controls it too"
            )

    def _differing(self, commands: dict[str, Command]) -> dict[str, Any]:
        """What does not read back as it was set, with what it reads."""
        question = compound([f"{command.headed(self)}?" for command in commands.values()])
        answers = self.link.query(question, ANSWERS)
        if len(answers) != len(commands):
            raise BadReading(f"{self.link.resource}: {len(answers)} answers came to {len(commands)} questions")
        differing = {}
        for (name, command), answer in zip(commands.items(), answers, strict=True):
            answered = command.form.read(answer.encode(), command.header, self.link.resource)
            if not command.agrees(self.asserted[name], answered, answer):
                differing[name] = answered
        return differing

    def identify(self) -> str:
        """``*IDN?``."""
        return self.link.identify()

    def _command(self, name: str) -> Command:
        command = getattr(type(self), name)
        assert isinstance(command, Command)
        return command


def vouching(identity: str) -> tuple[str, ...]:
    """What must stay the same of an identity: the fields that name one instrument, whatever their spacing."""
    return tuple(" ".join(field.split()) for field in identity.split(",")[:VOUCHING_FIELDS])


def _names(identity: str) -> list[str]:
    """What may be the model: a field, a word of one, or all of it."""
    fields = [field.strip() for field in identity.split(",")]
    return [identity.strip(), *fields, *(word for field in fields for word in field.split())]
