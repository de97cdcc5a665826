"""What the command line says of errors that nobody raised on purpose."""

import numpy as np
import pytest
import torch
import typer

from hwloop.cli.command import DEVICE_ERROR, reported


def _no_memory_in_numpy():
    np.empty(2**55)


def _no_memory_in_torch():
    torch.empty(2**55)


@pytest.mark.parametrize("step", [_no_memory_in_numpy, _no_memory_in_torch])
def test_memory_that_is_used_up_is_nothing_to_report(step, capsys):
    with pytest.raises(typer.Exit) as ended, reported(debug=False):
        step()
    said = capsys.readouterr().err
    assert ended.value.exit_code == DEVICE_ERROR
    assert said.startswith("hwloop: this computer's memory is used up (")
    assert "report" not in said


def test_an_error_of_ours_is(capsys):
    with pytest.raises(typer.Exit) as ended, reported(debug=False):
        raise RuntimeError("what was that")
    assert ended.value.exit_code == 1
    assert "please report it" in capsys.readouterr().err
