"""Neurons whose meaning is known, and what scores make of them."""
