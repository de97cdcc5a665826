"""Features that hardly reach the device, and outputs that never vary: they carry nothing, and that is said."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from hwloop.errors import HwloopWarning
from hwloop.layers import Encoder, Stage

logger = logging.getLogger(__name__)

SHOWN = 10  # channels that a note lists
FEWEST_STEPS = 256
MOST_CLIPPED = 0.1
LEAST_EXCURSION = 1e-6
CONSTANT = "are the same in every training row, but for rounding, and drive nothing"
MERGED = (
    f"take fewer than {FEWEST_STEPS} values of floating point within their range; subtract a constant from them "
    "before they are rounded"
)
BY_CHANNEL = "; scaling by 'channel' gives each feature a range of its own"
CLIPPED = f"are clipped at the device's limits in a tenth of the training rows or more{BY_CHANNEL}"
DROWNED = f"hardly reach the device beside wider ones{BY_CHANNEL}"


def what_is_lost(rows: Tensor, encoder: Encoder) -> Iterator[str]:
    """Notes on training rows (rows, n) of the first stage: features that its device hardly sees.

    Features that a projection mixes are not told apart. A sequence's count by step.
    """
    if not encoder.is_direct:
        return
    width = min(rows.shape[1], encoder.n_features)
    labels = rows.new_zeros(len(rows), encoder.n_features - width)
    excursions = encoder.excursions(torch.cat([rows, labels], dim=1))[:, :width]
    rows = rows.reshape(-1, width)
    low, high = rows.amin(dim=0), rows.amax(dim=0)
    varies = encoder.gain[:width] > 0
    clipped = (excursions > 1).double().mean(dim=0) > MOST_CLIPPED
    single = (rows == rows.to(torch.float32)).all(dim=0) & (rows != rows.round()).any(dim=0)
    steps = (high - low) / (torch.maximum(low.abs(), high.abs()) * torch.where(single, 2.0**-24, 2.0**-53))
    found = {
        CONSTANT: ~varies,
        MERGED: varies & (steps < FEWEST_STEPS),
        CLIPPED: varies & clipped,
        DROWNED: varies & (excursions.amax(dim=0) < LEAST_EXCURSION),
    }
    for said, which in found.items():
        if bool(which.any()):
            note = f"{_counted(which.nonzero()[:, 0], width, 'features')} {said}"
            logger.info(note)
            yield note


def what_never_varies(number: int, stage: Stage) -> Iterator[str]:
    """Notes on the device outputs of a trained stage, from 0; where all are constant it is a warning too.

    An output counts as constant where its values differ by no more than rounding does.
    """
    silent = (stage.standardiser.inverse_std == 0).nonzero()[:, 0]
    if not len(silent):
        return
    counted = _counted(silent, len(stage.standardiser.inverse_std), "device outputs")
    note = f"stage {number + 1}: {counted} are the same in every training row and "
    if len(silent) < len(stage.standardiser.inverse_std):
        note += "carry nothing"
        logger.info(note)
    else:
        note += "the network learns nothing from it; check that the device is on, connected and driven"
        warnings.warn(note, HwloopWarning, stacklevel=2)
    yield note


def _counted(channels: Tensor, of: int, what: str) -> str:
    shown = ", ".join(str(int(channel)) for channel in channels[:SHOWN]) + (
        ", ..." if len(channels) > SHOWN else ""
    )
    if len(channels) == of:
        return f"all {of:,} {what}"
    return f"{len(channels):,} of {of:,} {what} ({shown})"
