"""Compares variants over their seeds, with their nulls and controls."""
