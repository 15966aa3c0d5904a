"""The columns of comparison.parquet, which notebooks read by their names."""

from pathlib import Path

import numpy as np
import polars as pl

from analyze.comparison.command import compare
from tests.analyze.activations.synthetic import made_up_scores, meta_of, sampled_tokens, write_cell, write_data

VARIANT = (
    "variant layer hook act root_variant factor start_runs n_seeds seeds runs steps tokens_seen score_manifests "
    "checkpoint_hashes data_hash n_params n_neurons eval_loss eval_loss_low eval_loss_high unigram_loss bigram_loss "
    "dead_share rare_share dense_share always_on_share median_firing_rate peak_lr"
)
OVER_SEEDS = "median n_judged na_share mono_share_all single_token_share"
SHARES = (
    "mono_share mono_share_low mono_share_high mono_share_by_seed mono_number mono_number_low mono_number_high "
    "mono_once mono_once_low mono_once_high mono_once_share mono_once_share_low mono_once_share_high "
    "mono_share_within mono_share_within_low mono_share_within_high"
)
NULL = "share share_low share_high n excess excess_low excess_high z"
CONTRAST = "difference difference_low difference_high difference_n cliffs_delta p"
STRINGS = (
    "variant hook act root_variant start_runs seeds runs steps score_manifests checkpoint_hashes data_hash peak_lr "
    "reference primaries k_eff_mono_share_by_seed rule_share_mono_share_by_seed"
)
COUNTS = "layer factor n_seeds tokens_seen n_params n_neurons k_eff_difference_n rule_share_difference_n"


def of_score(name: str, decides: str) -> list[str]:
    nulls = [f"{null}_{column}" for null in ("untrained", "rotated", "w_in_rotated") for column in NULL.split()]
    return [f"{name}_{column}" for column in (*OVER_SEEDS.split(), *decides.split(), *SHARES.split(), *nulls)]


def test_names_order_and_types_of_the_columns_stay(tmp_path: Path):
    data = write_data(tmp_path / "data", n_documents=12)
    tokens, rng = sampled_tokens(data), np.random.default_rng(0)
    for variant, start in (("gelu", None), ("gelu-x1", "checkpoints/gelu-s0")):
        for seed in range(6):
            for step in (0, 500) if start is None else (500,):
                rows = [made_up_scores(20, rng.uniform(1, 3, 20), rng, null) for null in ("none", "rotated")]
                rows.append(made_up_scores(20, rng.uniform(1, 3, 20), rng, "w_in_rotated"))
                over = {"n_neurons": 20, "start_run": start, "root_variant": "gelu"}
                write_cell(tmp_path / "r", tokens, meta_of(data, tokens, variant, seed, step, **over), pl.concat(rows))
    compare([tmp_path / "r"], tmp_path / "out", primaries=("rule_share",))
    schema = pl.read_parquet_schema(tmp_path / "out" / "comparison.parquet")
    assert list(schema) == [
        *VARIANT.split(),
        *of_score("k_eff", "reach"),
        *of_score("rule_share", ""),
        *(f"{name}_{column}" for name in ("k_eff", "rule_share") for column in CONTRAST.split()),
        *("rule_share_p_adjusted", "k_eff_p_adjusted", "reference", "primaries"),
    ]
    for column, kind in schema.items():
        expected = pl.String if column in STRINGS.split() else pl.Int64 if column in COUNTS.split() else pl.Float64
        assert kind == expected, column
