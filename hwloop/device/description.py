"""Describes a device: its class, the arguments that it was built from, what is inside, and who answers."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.device.plain_value import UNDESCRIBED, PlainValues, plain_path, undescribed
from hwloop.device.spec import DeviceSpec
from hwloop.errors import ConfigError

PLACE = "device inside"  # its number stands where the device was given


@dataclass(frozen=True)
class ConstructorArguments:
    """Settings as plain values, and the devices that were among them.

    They are taken down when the device is built, before its constructor runs: what the caller does to an array, or
    another program to a file, later on is no setting of this device.
    """

    settings: Mapping[str, Any]
    devices: tuple[Any, ...]
    names: tuple[str, ...] = ()  # of the arguments that change an answer


def constructor_arguments(
    device: Any, cls: type[Any], arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> ConstructorArguments | None:
    """What a call of a constructor of ``device``, its class's own or a base class's, says of it.

    ``None`` if those are no arguments of it.
    """
    if cls.__init__ is object.__init__:
        return ConstructorArguments({}, ())
    try:
        bound = inspect.signature(cls.__init__).bind(None, *arguments, **keywords)
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    kinds = {name: parameter.kind for name, parameter in bound.signature.parameters.items()}
    given: dict[str, Any] = {}
    for number, (name, value) in enumerate(bound.arguments.items()):
        if number and kinds[name] is inspect.Parameter.VAR_KEYWORD:
            given |= value
        elif number:
            given[name] = value
    devices: list[Any] = []

    def place(value: Any) -> Any:
        if not hasattr(type(value), "all_harmless_settings"):
            return None
        if value is device:
            return {"itself": True}
        if not any(value is each for each in devices):
            devices.append(value)
        return {PLACE: next(number for number, each in enumerate(devices) if each is value)}

    given = {name: value for name, value in given.items() if name not in cls.self_described}
    plain = plain_settings(given, cls.path_settings, device.all_harmless_settings(), PlainValues(place))
    names = tuple(name for name in given if name not in device.all_harmless_settings())
    return ConstructorArguments(plain, tuple(devices), names)


def plain_settings(
    given: Mapping[str, Any],
    paths: Collection[str],
    harmless: Collection[str],
    values: PlainValues | None = None,
) -> dict[str, Any]:
    """Settings as plain values, but those that change no answer; one that is ``None`` is as good as not there."""
    values = PlainValues() if values is None else values
    found = {}
    for name, value in given.items():
        if value is None or name in harmless:
            continue
        try:
            found[name] = plain_path(value) if name in paths else values.of(value)
        except Exception as error:  # whatever an object of the caller's does when it is looked at
            found[name] = {UNDESCRIBED: f"a {type(value).__name__} that cannot be read ({type(error).__name__})"}
    return found


DIGEST_DIGITS = 16
LONGEST_SHOWN = 80  # characters of a value in words


@dataclass(frozen=True, eq=False)
class DeviceDescription:
    """Everything that says which device answered.

    Two descriptions of one digest are of one device: what one measured may stand for the other.

    Parameters
    ----------
    name
        Of the class, ``module:Class``.
    settings
        Every setting that changes an answer, as plain values; arrays and files by the digest of their content.
    inside
        The devices that it holds: of a wrapper the one inside, of a pool its members.
    identity
        What the hardware says of itself once it is open; empty if it says nothing.
    vouched
        Whether it, and everything inside, says who it is. Else another unit of the same settings looks the same.
    spec
        Channels, limits, units and pace.
    harmless
        Settings of the class that change no answer: a description from before the class said so may hold them.
    """

    name: str
    settings: Mapping[str, Any]
    inside: tuple[DeviceDescription, ...]
    identity: str
    vouched: bool
    spec: DeviceSpec
    harmless: frozenset[str] = frozenset()
    _digest: list[str] = field(default_factory=list, init=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and TOML."""
        return {
            "name": self.name,
            "identity": self.identity,
            "vouched": self.vouched,
            "settings": dict(self.settings),
            "spec": self.spec.as_dict(),
            "inside": [each.as_dict() for each in self.inside],
        }

    @classmethod
    def from_dict(cls, stored: Any) -> DeviceDescription:
        """The description that :meth:`as_dict` gave.

        Raises
        ------
        ConfigError
            It holds none.
        """
        try:
            return cls(
                name=_of_type(str, stored["name"]),
                settings=dict(_of_type(dict, stored.get("settings", {}))),
                inside=tuple(cls.from_dict(each) for each in _of_type(list, stored.get("inside", []))),
                identity=_of_type(str, stored["identity"]),
                vouched=_of_type(bool, stored["vouched"]),
                spec=DeviceSpec(**stored["spec"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"a stored description of a device cannot be read ({type(error).__name__}: {error}); was it "
                "written by another version of hwloop?"
            ) from error

    def as_bytes(self) -> NDArray[np.uint8]:
        """The same as one array, as it travels to another process: limits of many channels are long."""
        return np.frombuffer(json.dumps(self.as_dict(), separators=(",", ":")).encode(), dtype=np.uint8)

    @classmethod
    def from_bytes(cls, sent: NDArray[Any]) -> DeviceDescription:
        """The description that :meth:`as_bytes` gave; raises as :meth:`from_dict` does."""
        try:
            stored = json.loads(sent.tobytes())
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"a description of a device cannot be read ({error})") from error
        return cls.from_dict(stored)

    def digest(self) -> str:
        """16 hexadecimal digits: equal for the same device alone."""
        if not self._digest:
            text = json.dumps(self._compared(), ensure_ascii=True, separators=(",", ":"))
            self._digest.append(hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS])
        return self._digest[0]

    def _compared(self) -> list[Any]:
        settings = sorted(self.settings.items())
        spec = sorted(plain_spec(self.spec).items())
        return [self.name, settings, self.identity, spec, [each._compared() for each in self.inside]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceDescription) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def differences(self, other: DeviceDescription) -> list[str]:
        """In what ``other`` is another device, in words: ``OpticalFibre.seed: 2, not 0``, this one's value first.

        Empty for the same device, also where one of the two was described before a setting was found harmless.
        """
        return [] if self == other else list(self._differences(other))

    def _differences(self, other: DeviceDescription) -> Iterator[str]:
        short = self.short_name
        if self.name != other.name:
            yield f"device: {self._in_words(other)}"
            return
        harmless = self.harmless | other.harmless
        yield from _of_mappings(short, *(_without(each.settings, harmless) for each in (self, other)))
        if len(self.inside) != len(other.inside):
            yield f"{short} holds {len(self.inside)} devices, not {len(other.inside)}"
        for mine, theirs in zip(self.inside, other.inside, strict=False):
            yield from mine._differences(theirs)
        if self.identity != other.identity:
            yield f"{short} says of itself {_shown(self.identity)}, not {_shown(other.identity)}"
        yield from _of_mappings(f"{short}.spec", plain_spec(self.spec), plain_spec(other.spec))

    def _in_words(self, other: DeviceDescription) -> str:
        mine, theirs = (" around ".join(each.layers()) for each in (self, other))
        return f"{mine}, not {theirs}" if mine != theirs else f"{self.name}, not {other.name}"

    @property
    def short_name(self) -> str:
        """The class without its module."""
        return self.name.rpartition(":")[2].rpartition(".")[2]

    def layers(self) -> list[str]:
        """The classes from the outside in; of several devices inside, the first."""
        return [self.short_name, *(self.inside[0].layers() if self.inside else [])]

    def doubts(self) -> list[str]:
        """What another device of the same description may differ in, in words; empty if nothing."""
        found = [f"{self.short_name}.{key}: {what} is known by name alone" for key, what in self._undescribed()]
        for each in self.inside:
            found += each.doubts()
        if not self.vouched and not any(not each.vouched for each in self.inside):
            found.append(f"no serial number vouches for {self.short_name}: another unit would look the same")
        return list(dict.fromkeys(found))

    def _undescribed(self) -> Iterator[tuple[str, str]]:
        for key, value in self.settings.items():
            for what in undescribed(value):
                yield key, what


def plain_spec(spec: DeviceSpec) -> dict[str, Any]:
    """The spec as plain values; a limit that all channels share is one number, however it was given."""
    plain = spec.as_dict()
    for limit in ("input_low", "input_high"):
        if isinstance(plain[limit], list) and len(set(plain[limit])) == 1:
            plain[limit] = plain[limit][0]
    return plain


def _without(settings: Mapping[str, Any], harmless: frozenset[str]) -> dict[str, Any]:
    """Without the settings that change no answer, those that are given to a base class too."""
    return {name: value for name, value in settings.items() if name.rpartition(".")[2] not in harmless}


def _of_mappings(where: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((*mine, *theirs)):
        first, second = mine.get(key), theirs.get(key)
        if first == second:
            if _text(first) != _text(second):
                yield f"{where}.{key}: {_shown(first)}, not in the order {_shown(second)}"
            continue
        if isinstance(first, Mapping) and isinstance(second, Mapping) and set(first) == set(second):
            yield from _of_mappings(f"{where}.{key}", first, second)
        else:
            yield f"{where}.{key}: {_shown(first)}, not {_shown(second)}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    """A plain value in few characters; of two long texts the digest tells them apart."""
    if value is None:
        return "unset"
    text = _text(value)
    if len(text) <= LONGEST_SHOWN:
        return text
    return f"{text[: LONGEST_SHOWN - 20]}… (sha256:{hashlib.sha256(text.encode()).hexdigest()[:8]})"


def _of_type(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    return value
