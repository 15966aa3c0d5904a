"""Variants over their seeds, beside their nulls and controls."""
