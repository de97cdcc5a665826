"""Stimuli, timed calls and statistics: for ``check``, which judges a device, and ``calibrate``."""
