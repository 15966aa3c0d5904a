"""The headline: how likely it is that a neuron has one feature, from figures that scores make of it."""
