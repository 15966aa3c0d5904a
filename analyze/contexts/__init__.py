"""The contexts of strong firings as vectors, and what their spread says of a neuron."""
