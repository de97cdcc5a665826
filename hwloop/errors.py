"""Every error that hwloop raises on purpose.

Each message says what happened, to which device or file, and what to do next. The command line turns the
user's mistakes into exit code 2, the device's failures into exit code 3, and its drift into exit code 4.
"""

from __future__ import annotations

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # in PyTorch's words


class HwloopError(Exception):
    """Base of all errors raised by hwloop."""


class HwloopWarning(UserWarning):
    """Something that the user should know, though it stops nothing."""


class StimulusError(HwloopError, ValueError):
    """A stimulus has the wrong shape or type, or is not finite; nothing has reached the device."""


class TuningError(StimulusError):
    """A tuning has the wrong names or shape, is not finite or lies between two steps; nothing was set."""


class LimitError(HwloopError, ValueError):
    """A stimulus or a tuning lies outside the device's physical limits; nothing has reached the device."""


class DeviceError(HwloopError):
    """The device failed, or could not be opened."""


class DeviceTimeout(DeviceError):
    """The device did not answer in time."""


class DeviceDisconnected(DeviceError):
    """The connection to the device was lost."""


class DeviceCrashed(DeviceError):
    """The process that drives the device died."""


class DeviceDrifted(DeviceError):
    """The device has moved further than the reference's limit allows; the run is paused, with everything kept."""


class DeviceChanged(DeviceError):
    """Another device answers than before, or with another spec; nothing that it measured is recorded."""


class BadReading(DeviceError):
    """The device answered with the wrong shape, NaN, infinity or SCPI's 9.91E37 (not a number)."""


class ConformityError(BadReading):
    """The device answers in a form that its driver cannot read, and will again: no retry mends it."""


class BudgetExceeded(HwloopError):
    """The next row would exceed the row budget; it was not measured."""


class ConfigError(HwloopError):
    """A name, key or value in a configuration is unknown or unusable."""


class DatasetError(HwloopError, ValueError):
    """A dataset is absent, damaged, or cannot be trained on."""


class TrainingDiverged(HwloopError):
    """Training left the finite numbers; the device has nothing to do with it, and going on cannot mend it."""


class CheckpointError(HwloopError):
    """A checkpoint cannot be read or written, or belongs to another device."""


class JournalError(HwloopError):
    """A journal cannot be read or written."""


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what happened, or the reason for what happened.

    Python before 3.12 turns one that comes while a class is being made, as in an import, into a RuntimeError.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, whichever library says so; PyTorch has no class for it on the processor."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
    )
