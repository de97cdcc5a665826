"""Datasets, recorded devices and experiment definitions."""
