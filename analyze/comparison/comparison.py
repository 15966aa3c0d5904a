"""What a comparison of variants is, for those who make it and those who show it."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from analyze.comparison.separation import Told
from analyze.comparison.summary import Judge


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; `rows` has one row a variant, layer and hook, over the final steps of its seeds.

    Shares lie in 0..1, losses are in nats a token. `_low` and `_high` are 95 % t intervals over seeds (null
    with one seed) except `_within_` (bootstrap over clusters of duplicates, seeds fixed) and those of nulls
    (Wilson, over the rows of all seeds).
    """

    rows: pl.DataFrame
    arms: pl.DataFrame
    """Variants that start from a checkpoint, behind the parent they start from."""
    judges: tuple[Judge, ...]
    reference: str
    primaries: tuple[str, ...]
    n_tests: int
    """Contrasts with the reference over all primaries: the family that Holm's correction counts."""
    told: tuple[Told, ...]
    """What each score tells apart, of the variants from scratch."""
    facts: dict[str, Any]
    """What all runs share: data_hash, tokens_hash, n_ctx, n_tokens, n_sampled_tokens, unigram, bigram."""
