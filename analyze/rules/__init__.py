"""Rules of tokens and contexts, read from text alone, and lists of them that state a neuron."""
