"""Meshes of Mach-Zehnder interferometers: linear optics of which every phase can be set."""
