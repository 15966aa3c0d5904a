"""Checkpoints in other people's formats: a Hugging Face model, a hub repository, activations for autoencoders."""
