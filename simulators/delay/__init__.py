"""A node, or a cavity, with a delayed feedback."""
