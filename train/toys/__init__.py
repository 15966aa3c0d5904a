"""Toy models of superposition: small networks on sparse synthetic features, where the truth is known."""
