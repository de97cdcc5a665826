"""``python -m hwloop.cli`` is the ``hwloop`` command."""

from hwloop.cli import main

main()
