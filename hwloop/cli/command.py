"""Shared by all commands: options, and the way from an error to an exit code and one line.

Exit codes: 2 the user's mistakes, 3 device or computer, 4 drift, 130 Ctrl-C.

It is 141, without a line, where the reader of the output is gone: so a shell says that SIGPIPE ended a program.

``hwloop check`` ends with 1, without a line, where everything worked and a device breaks a promise.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hwloop.cli.stop_signals import INTERRUPTED, StopSignals

BROKEN_PROMISE, USER_ERROR, DEVICE_ERROR, DEVICE_DRIFTED = 1, 2, 3, 4
BROKEN_PIPE = 141  # as the shell says of a program that SIGPIPE ended


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
DeviceTarget = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="A device's TOML file, a device of 'hwloop list', or package.module:Class."
    ),
]
ExperimentName = Annotated[
    str, typer.Argument(metavar="[NAME|FILE.toml]", help="An experiment of 'hwloop list', or a file.")
]
RecordedFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run, running or not.")]
LAST_LINE = "the last line of stdout"


def set_option(text: str) -> Any:
    """``--set KEY=VALUE``, which may be given several times."""
    return typer.Option("--set", metavar="KEY=VALUE", help=text)


def json_option(text: str) -> Any:
    """``--json``: for programs."""
    return typer.Option("--json", help=text)


def device_settings(settings: Sequence[str]) -> dict[str, Any]:
    """The values of ``--set`` for a device.

    Raises
    ------
    ConfigError
    """
    from hwloop.errors import ConfigError
    from hwloop.toml_text import parse_setting

    chosen: dict[str, Any] = {}
    for setting in settings:
        path, value = parse_setting(setting)
        if len(path) > 1:
            raise ConfigError(f"--set {setting!r}: a device's setting is one word, such as n_inputs=16")
        chosen[path[0]] = value
    return chosen


@dataclass
class ProgressKept:
    """What of an unfinished run is on disk; the run fills it in.

    ``give_up`` is called when the process must end although the run has not: it writes what it can, and says so.
    """

    note: str = ""
    give_up: Callable[[], None] = lambda: None

    @contextmanager
    def in_folder(self, folder: Path) -> Iterator[None]:
        """Say after an interruption how to go on with a comparison, if anything of it was begun."""
        try:
            yield
        finally:
            if folder.is_dir() and any(folder.iterdir()):
                self.note = f"what is finished is kept in {folder}; the same command with --out {folder} goes on"


def reporting(command: Callable[..., int | None]) -> Callable[..., None]:
    """A command with the option ``--debug``, whose errors become one line and an exit code.

    The command may take ``kept``, a :class:`ProgressKept`, and may return an exit code of its own.
    """
    signature = inspect.signature(command, eval_str=True)
    wants_kept = "kept" in signature.parameters

    @functools.wraps(command)
    def reported_command(context: typer.Context, debug: bool, **options: Any) -> None:
        with reported(debug or context.obj["debug"]) as kept:
            code = command(kept, **options) if wants_kept else command(**options)
        if code:
            raise typer.Exit(code)

    own = [parameter for parameter in signature.parameters.values() if parameter.name != "kept"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *own, inspect.Parameter("debug", keyword, default=False, annotation=Debug)]
    reported_command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    reported_command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return reported_command


@contextmanager
def reported(debug: bool) -> Iterator[ProgressKept]:
    """Turn an error inside into one line on standard error and its exit code; with ``debug`` a traceback too.

    Ctrl-C, SIGTERM and SIGHUP inside are those of :mod:`hwloop.cli.stop_signals`.
    """
    kept = ProgressKept()
    with StopSignals(lambda: kept.give_up()), _errors_reported(kept, debug):
        yield kept


@contextmanager
def _errors_reported(kept: ProgressKept, debug: bool) -> Iterator[None]:
    from hwloop.errors import (
        DeviceDrifted,
        DeviceError,
        HwloopError,
        JournalError,
        is_out_of_memory,
        was_interrupted,
    )

    try:
        yield
        sys.stdout.flush()  # whoever reads may be gone before the last lines leave the buffer
    except KeyboardInterrupt:
        _fail("interrupted", kept, INTERRUPTED, debug)
    except DeviceDrifted as error:
        _fail(f"paused: {error}", kept, DEVICE_DRIFTED, debug)
    except DeviceError as error:
        _fail(f"device error: {error}", kept, DEVICE_ERROR, debug)
    except JournalError as error:
        _fail(f"journal error: {error}", kept, DEVICE_ERROR, debug)
    except HwloopError as error:
        _fail(f"error: {error}", kept, USER_ERROR, debug)
    except BrokenPipeError:
        _let_go_of_broken_pipes()
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        _fail(f"cannot go on: {error}; check the disk, the path and its rights", kept, DEVICE_ERROR, debug)
    except Exception as error:
        if was_interrupted(error):
            _fail("interrupted", kept, INTERRUPTED, debug)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if is_out_of_memory(error):
            advice = "end other programs, or ask for less at once: fewer rows, outputs or devices"
            _fail(f"this computer's memory is used up ({what}); {advice}", kept, DEVICE_ERROR, debug)
        _fail(f"unexpected error, please report it with the output of --debug: {what}", kept, 1, debug)


def _let_go_of_broken_pipes() -> None:
    """The reader of our output is gone, and nobody is left to tell: what is still to be written is dropped."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _fail(message: str, kept: ProgressKept, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    note = f"; {kept.note}" if kept.note else ""
    with suppress(BrokenPipeError):
        typer.echo("hwloop: " + " ".join(f"{message}{note}".split()), err=True)
    raise typer.Exit(code) from None
