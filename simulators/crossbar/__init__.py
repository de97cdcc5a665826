"""Crossbars of memristors: conductances that are written, wear out and creep, and the wires between them."""
