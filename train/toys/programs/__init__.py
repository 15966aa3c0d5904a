"""Toys whose network is not one of the engine's: one file each, all trained by `run`."""
