"""Simulated substrates."""
