"""Small sparse autoencoders of our own, and psi = F / N: effective features over neurons, a measure of superposition.

    from analyze.dictionary import Settings, fit, psi
    dictionary = fit(values, Settings(latents=64, l1=0.3))      # values: [token neuron]
    dictionary.latents(values)                                   # [token latent], sparse and never negative
    psi(values, Settings(latents=64, l1=0.3)).psi               # effective features over neurons

What a number of features is depends on how well the dictionary rebuilds its input: compare dictionaries (of layers, of
sizes, of kinds) by `frontier`, at equal reconstruction.
"""

from analyze.dictionary.autoencoder import Dictionary, Settings, fit
from analyze.dictionary.effective import Psi, effective_features, gaussian_like, psi, psi_of, shuffled
from analyze.dictionary.frontier import Point, frontier, psi_at

__all__ = [
    "Dictionary",
    "Point",
    "Psi",
    "Settings",
    "effective_features",
    "fit",
    "frontier",
    "gaussian_like",
    "psi",
    "psi_at",
    "psi_of",
    "shuffled",
]
