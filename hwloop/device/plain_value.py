"""Turns settings into plain values that can be written down and compared: arrays and files by content."""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import inspect
import json
import math
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

MOST_LISTED = 64  # numbers that stand as they are; more are named by a digest
MOST_FILES = 2_000  # of a folder
LONGEST_PATH = 4096
MOST_NESTED = 8
MOST_PARTS = 20_000  # of one setting
VALUES_READ = (int, float, complex, str, tuple, list, dict, np.ndarray, np.generic)  # by a function, of its module
UNDESCRIBED = "not described"  # marks what is known by its name alone


class PlainValues:
    """Turns values into text, numbers, booleans, lists and mappings with text as keys.

    Parameters
    ----------
    place
        Gives the plain value of what stands for itself, a device inside for one, or ``None``.
    """

    def __init__(self, place: Callable[[Any], Any] = lambda value: None) -> None:
        self._place = place
        self._parts = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        """The plain value; what is known by its name alone says so."""
        placed = self._place(value)
        if placed is not None:
            return placed
        self._parts = self._parts + 1 if depth else 0
        if depth > MOST_NESTED or self._parts > MOST_PARTS:
            return {UNDESCRIBED: f"a {type(value).__name__} in something that is nested too deeply, or too large"}
        if value is None:
            return {"none": True}
        if isinstance(value, enum.Enum):
            return f"{qualified(type(value))}.{value.name}"
        if isinstance(value, PurePath) or (isinstance(value, str) and _may_name_a_file(value)):
            return _content(value)
        if isinstance(value, bool | np.bool_ | str | int | float | np.integer | np.floating):
            return _plain_scalar(value)
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple | range):
            return self._list(list(value), depth)
        if isinstance(value, set | frozenset):
            return {"set": sorted((self.of(each, depth + 1) for each in value), key=_text)}
        return self._object(value, depth)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        """Its order is kept: channels may be numbered by it."""
        if all(isinstance(key, str) for key in value):
            return {key: self.of(each, depth + 1) for key, each in value.items()}
        return {"mapping": [[self.of(key, depth + 1), self.of(each, depth + 1)] for key, each in value.items()]}

    def _list(self, value: list[Any], depth: int) -> Any:
        if len(value) > MOST_LISTED or (value and isinstance(value[0], list | tuple)):
            array = _as_numbers(value)
            if array is not None:
                return _plain_array(array)
        return [self.of(each, depth + 1) for each in value]

    def _object(self, value: Any, depth: int) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            return {"bytes": digest_of_bytes(bytes(value))}
        if isinstance(value, complex | np.complexfloating):
            return {"complex": [_plain_scalar(value.real), _plain_scalar(value.imag)]}
        if isinstance(value, np.random.Generator):
            return {
                "generator": digest_of_text(json.dumps(value.bit_generator.state, default=str, sort_keys=True))
            }
        if isinstance(value, functools.partial):
            call = [value.func, list(value.args), dict(sorted(value.keywords.items()))]
            return {"partial": [self.of(each, depth + 1) for each in call]}
        if isinstance(value, types.MethodType):
            return {"method": value.__name__, "of": self.of(value.__self__, depth + 1)}
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, type | types.BuiltinFunctionType | types.ModuleType | np.ufunc):
            return qualified(value)
        if hasattr(type(value), "__array__"):
            return _plain_array(np.asarray(value))
        return self._held_by(value, depth)

    def _held_by(self, value: Any, depth: int) -> Any:
        """An object by its class and what it holds, if that is plain; else by its class alone."""
        name = qualified(type(value))
        if is_dataclass(value):
            held = {each.name: getattr(value, each.name) for each in fields(value)}
        elif hasattr(value, "__dict__"):
            held = dict(sorted(vars(value).items()))
        else:
            # Decimals, times and the like show themselves; an object that shows its address does not.
            shown = repr(value)
            return {"object": name, "is": shown} if " at 0x" not in shown else {"object": name, UNDESCRIBED: name}
        if type(value).__module__.partition(".")[0] in ("builtins", "threading", "_thread", "socket"):
            return {"object": name, UNDESCRIBED: name}
        plain = {key: self.of(each, depth + 1) for key, each in held.items()}
        return {"object": name, UNDESCRIBED: name} if any(undescribed(plain)) else {"object": name, "holds": plain}

    def _function(self, function: types.FunctionType, depth: int) -> Any:
        """By name and by what it does, for two lambdas have one name, and may read other variables."""
        held = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        held += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        described = {
            "function": qualified(function),
            "code": digest_of_text(_code_text(function.__code__)),
            "holds": [self.of(each, depth + 1) for each in held],
        }
        reads = {name: self.of(each, depth + 1) for name, each in _variables_read(function).items()}
        return described | ({"reads": reads} if reads else {})


def plain_path(value: Any) -> Any:
    """A setting that names a file: the digest of its content, wherever it lies.

    A list of paths is one of digests, ``FILE.py:Class`` the digest with the class, and what names no file stays
    as it is. A folder is named by all the Python files in it.
    """
    if isinstance(value, list | tuple):
        return [plain_path(each) for each in value]
    if not isinstance(value, str | os.PathLike):
        return PlainValues().of(value)
    text = os.fspath(value)
    if not isinstance(text, str):
        return PlainValues().of(text)
    head, python, rest = text.partition(".py:")
    path = Path(f"{head}{python.rstrip(':')}") if python else Path(text)
    try:
        if path.is_file():
            content = {"file": digest_of_file(path)}
            return {**content, "of": rest} if python else content
        if path.is_dir():
            return _plain_folder(path)
    except OSError as error:
        return {"path": text, UNDESCRIBED: f"{path} cannot be read ({error.strerror})"}
    return text


def _may_name_a_file(text: str) -> bool:
    return len(text) <= LONGEST_PATH and "\0" not in text and (os.sep in text or bool(PurePath(text).suffix))


def _content(value: str | PurePath) -> Any:
    """A text that names a file counts by the file's content, whatever the setting is for; other text as it is."""
    text = os.fspath(value)
    try:
        return {"file": digest_of_file(Path(text))} if Path(text).is_file() else text
    except OSError as error:
        return {"path": text, UNDESCRIBED: f"{text} cannot be read ({error.strerror})"}


def _plain_folder(path: Path) -> Any:
    digest = hashlib.sha256()
    for number, file in enumerate(sorted(path.rglob("*.py"))):
        if number >= MOST_FILES:
            return {"folder": str(path), UNDESCRIBED: f"{path} holds more than {MOST_FILES:,} Python files"}
        digest.update(f"{file.relative_to(path).as_posix()}\0{digest_of_file(file)}\n".encode())
    return {"folder": f"sha256:{digest.hexdigest()}"}


def undescribed(plain: Any) -> Iterable[str]:
    """What in a plain value is known by its name alone."""
    if isinstance(plain, Mapping):
        if UNDESCRIBED in plain:
            yield str(plain[UNDESCRIBED])
        for each in plain.values():
            yield from undescribed(each)
    elif isinstance(plain, list):
        for each in plain:
            yield from undescribed(each)


def qualified(named: Any) -> str:
    """``module:Name`` of a class or function."""
    module = getattr(named, "__module__", None) or getattr(named, "__name__", "")
    return f"{module}:{getattr(named, '__qualname__', getattr(named, '__name__', type(named).__name__))}"


def digest_of_bytes(content: bytes) -> str:
    """``sha256:`` and the digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_of_text(text: str) -> str:
    """Of its UTF-8."""
    return digest_of_bytes(text.encode("utf-8", "surrogatepass"))


def digest_of_file(path: Path) -> str:
    """Of its content."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _plain_scalar(value: Any) -> Any:
    """A whole number is one, however it is written: 2 and 2.0 are the same setting."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        return {"number": str(number)}
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _plain_array(array: np.ndarray[Any, Any]) -> Any:
    """Few numbers as a list, many by their digest: the same for a list and for arrays of any type of number."""
    if array.dtype.kind not in "fiubc":
        if array.dtype.kind in "US" and array.size <= MOST_LISTED:
            return PlainValues().of(array.tolist())
        if array.dtype.hasobject:
            return {"object": qualified(type(array)), UNDESCRIBED: f"an array of {array.dtype}"}
        return {"array": digest_of_bytes(array.tobytes()), "shape": list(array.shape), "kind": str(array.dtype)}
    if array.ndim == 0:
        return PlainValues().of(array.item())
    if array.dtype.kind != "c" and array.ndim == 1 and array.size <= MOST_LISTED:
        return [_plain_scalar(each) for each in array.tolist()]
    kind = "complex128" if array.dtype.kind == "c" else "float64"
    numbers = np.ascontiguousarray(array, dtype=np.dtype(kind).newbyteorder("<"))
    if array.dtype.kind in "iu" and not np.array_equal(numbers.astype(array.dtype), array):
        kind, numbers = str(array.dtype), np.ascontiguousarray(array)  # whole numbers beyond 2**53
    return {"array": digest_of_bytes((numbers + 0).tobytes()), "shape": list(array.shape), "kind": kind}


def _as_numbers(value: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.dtype.kind in "fiu" else None


def _code_text(code: types.CodeType) -> str:
    constants = [_constant_text(each) for each in code.co_consts]
    return repr((code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars))


def _constant_text(constant: Any) -> str:
    if isinstance(constant, types.CodeType):
        return _code_text(constant)
    if isinstance(constant, tuple):
        return repr([_constant_text(each) for each in constant])
    if isinstance(constant, frozenset):  # it is shown in another order by every process
        return repr(("set", sorted(map(_constant_text, constant))))
    return repr(constant)


def _variables_read(function: types.FunctionType) -> dict[str, Any]:
    """Values and functions of its module that a function reads, and those that these functions read, by name.

    What a function assigns itself is its state, no setting; libraries and classes are known by their names.
    """
    found: dict[str, Any] = {}
    functions = [function]
    while functions:
        each = functions.pop()
        for name in _global_names(each.__code__):
            value = each.__globals__.get(name)
            if name in found or value is function:
                continue
            if isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
                found[name] = digest_of_text(_code_text(value.__code__))
                functions.append(value)
            elif isinstance(
                value, bool | int | float | complex | str | tuple | list | dict | np.ndarray | np.generic
            ):
                found[name] = value
    return dict(sorted(found.items()))


def _global_names(code: types.CodeType) -> set[str]:
    """Names of a module that code reads and never assigns, in functions and lambdas inside it too."""
    by_kind: dict[str, set[str]] = {"LOAD_GLOBAL": set(), "STORE_GLOBAL": set()}
    codes = [code]
    while codes:
        each = codes.pop()
        codes += [constant for constant in each.co_consts if isinstance(constant, types.CodeType)]
        for step in dis.get_instructions(each):
            if step.opname in by_kind:
                by_kind[step.opname].add(step.argval)
    return by_kind["LOAD_GLOBAL"] - by_kind["STORE_GLOBAL"]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not inspect.Parameter.empty
    except ValueError:
        return False


def _text(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True)
