"""A benchmark of neuron scores: any function of activations, tokens and documents beside its rivals, on planted truth."""
