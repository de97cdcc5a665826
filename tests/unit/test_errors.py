"""Ctrl-C is Ctrl-C, also where Python wraps it."""

import pytest
import typer

from hwloop.cli.command import INTERRUPTED, reported
from hwloop.errors import was_interrupted


class Named:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt


def make_a_class_while_ctrl_c_comes():
    return type("Owner", (), {"attribute": Named()})


def test_one_that_comes_while_a_class_is_made_is_an_interruption():
    with pytest.raises((RuntimeError, KeyboardInterrupt)) as caught:  # a RuntimeError before Python 3.12
        make_a_class_while_ctrl_c_comes()
    assert was_interrupted(caught.value)
    with pytest.raises(typer.Exit) as stopped, reported(debug=False):
        make_a_class_while_ctrl_c_comes()
    assert stopped.value.exit_code == INTERRUPTED


def test_other_errors_are_not():
    assert not was_interrupted(None)
    assert not was_interrupted(ValueError("x"))
