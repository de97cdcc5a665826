"""Every public method says what it does, itself or in the class that it follows."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import hwloop

# Run by another interpreter, beside a package that is not there.
ELSEWHERE = ("hwloop.simulators.spiking.lava.loihi", "hwloop.devices.worker.served", "hwloop.cli.__main__")


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(hwloop.__path__, "hwloop."):
        if not found.name.startswith(ELSEWHERE):
            try:
                yield importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                if error.name and error.name.partition(".")[0] == "hwloop":
                    raise


@pytest.mark.slow
def test_every_public_method_is_documented():
    silent, seen = [], 0
    for module in _modules():
        for kind in vars(module).values():
            if not inspect.isclass(kind) or kind.__module__ != module.__name__ or kind.__name__.startswith("_"):
                continue
            for name, member in vars(kind).items():
                function = getattr(member, "__func__", getattr(member, "fget", member))
                is_own = inspect.isfunction(function) and function.__qualname__ == f"{kind.__qualname__}.{name}"
                if name.startswith("_") or not is_own:
                    continue
                seen += 1
                if not inspect.getdoc(member if isinstance(member, property) else getattr(kind, name)):
                    silent.append(f"{module.__name__}:{kind.__name__}.{name}")
    assert seen > 1000
    assert not silent, "\n".join(silent)
