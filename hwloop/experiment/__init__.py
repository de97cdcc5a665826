"""Experiments: a configuration, the run that it describes, and honest evidence of what the physics is worth."""
