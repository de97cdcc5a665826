"""The state of torch that hwloop computes in, whatever the program around it has set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

import torch

AUTOCAST_KINDS = ("cpu", "cuda")

Taken = ParamSpec("Taken")
Given = TypeVar("Given")


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Gradients on, no inference mode, no autocast, and new tensors on the CPU; all as it was afterwards.

    Only what torch keeps for each thread by itself is set, so a device that is driven from another thread, and
    computes with torch too, never notices. What belongs to the whole process is left alone: the default dtype is
    harmless because every tensor that is made here says its own, and neither deterministic algorithms nor anomaly
    detection alter a number. Nested uses, also in a callback of a fit, put the inner state back as it was.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in AUTOCAST_KINDS:
            if torch.is_autocast_enabled(kind):
                torch.set_autocast_enabled(kind, False)
                stack.callback(torch.set_autocast_enabled, kind, True)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def never_compiled(function: Callable[Taken, Given]) -> Callable[Taken, Given]:
    """A function that ``torch.compile`` leaves alone: it compiles what is before and behind it."""
    compiler = sys.modules.get("torch._dynamo")  # it takes seconds to import, and who compiles has imported it
    left_alone: Callable[Taken, Given] = function if compiler is None else compiler.disable(function)
    return left_alone
