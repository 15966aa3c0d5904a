"""Copies of neurons: schemes, the widened model, and what becomes of the optimizer."""
