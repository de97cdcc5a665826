"""The command line: ``hwloop run``, ``hwloop list``."""

from __future__ import annotations

from hwloop.cli.app import main

__all__ = ["main"]
