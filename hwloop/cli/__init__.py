"""The command line: the ``hwloop`` command."""

from __future__ import annotations

from hwloop.cli.app import main

__all__ = ["main"]
