"""Rivals of a score: figures of the field, each a function (activations, tokens, documents) -> one value a neuron."""
