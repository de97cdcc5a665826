"""Real instruments, wrappers and out-of-process devices."""
