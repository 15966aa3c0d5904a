"""Small activations on made-up text, complete enough for every score."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from analyze.activations.in_memory import activations_in_memory
from analyze.activations.store import Activations, TokenSample
from analyze.rules.build import grammar_of
from analyze.rules.grammar import Grammar
from tests.analyze.activations.synthetic import meta_of, sampled_tokens, write_data


def made_up_data(directory: Path) -> Path:
    """About 9,000 tokens of made-up sentences in 90 documents."""
    return write_data(directory / "data", n_documents=90, hostile=False)


def activations_of(values: Float[np.ndarray, "t n"], data: Path, tokens: TokenSample) -> Activations:
    """Activations as `collect` would leave them, held in memory."""
    meta = meta_of(data, tokens, "gelu", 0, 500, n_neurons=values.shape[1], checkpoint_dir="")
    return activations_in_memory(torch.from_numpy(values.astype(np.float32)), tokens, meta)


def grammar_on(data: Path) -> tuple[Grammar, TokenSample]:
    """The grammar of all of the data's held-out tokens, and those tokens."""
    tokens = sampled_tokens(data)
    return grammar_of(activations_of(np.zeros((len(tokens), 1)), data, tokens)), tokens


def covered(grammar: Grammar, tokens: TokenSample, phrase: str) -> np.ndarray:
    """Which sampled tokens the rule with this sentence covers."""
    rule = grammar.phrases.index(phrase)
    return grammar.holds(np.asarray(tokens.stream_position))[:, rule] > 0
