"""After widening: what each copy of a neuron became."""
