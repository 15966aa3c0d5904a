"""A benchmark of neuron scores: any function of activations, tokens and documents beside rivals, on planted truth."""
