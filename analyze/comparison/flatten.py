"""A comparison as columns, for comparison.parquet and comparison.csv; nothing else knows their names."""

from collections.abc import Iterable, Mapping
from math import isfinite

import polars as pl

from analyze.comparison.comparison import Comparison
from analyze.comparison.summary import ComparedScore
from analyze.comparison.variants import ScoreSummary, VariantResult
from analyze.statistics import Estimate

Value = str | int | float | None


def flattened(comparison: Comparison) -> pl.DataFrame:
    """One row a variant, layer and hook; `_low` and `_high` are the ends of intervals, null where there is none."""
    scores = comparison.scores
    primaries_first = sorted(scores, key=lambda score: score.name not in comparison.primaries)
    rows = []
    for result in comparison.rows:
        row = _columns("", _variant(result))
        for score in scores:
            row |= _columns(f"{score.name}_", _over_seeds(score, result.scores[score.name]))
        for score in scores:
            summary = result.scores[score.name]
            contrast = {
                "difference": summary.difference,
                "difference_n": summary.difference.n,
                "cliffs_delta": summary.cliffs_delta,
                "p": summary.p,
            }
            row |= _columns(f"{score.name}_", contrast)
        for score in primaries_first:
            row |= _columns(f"{score.name}_", {"p_adjusted": result.scores[score.name].p_adjusted})
        rows.append(row | {"reference": comparison.reference, "primaries": " ".join(comparison.primaries)})
    return pl.DataFrame(rows, infer_schema_length=None)


def _columns(prefix: str, values: Mapping[str, Value | Estimate]) -> dict[str, Value]:
    """Values as columns: an estimate is three of them, NaN is null."""
    row: dict[str, Value] = {}
    for name, value in values.items():
        if isinstance(value, Estimate):
            row |= _columns(f"{prefix}{name}", {"": value.mean, "_low": value.low, "_high": value.high})
        else:
            row[f"{prefix}{name}"] = None if isinstance(value, float) and not isfinite(value) else value
    return row


def _variant(result: VariantResult) -> dict[str, Value | Estimate]:
    meta, metas = result.meta, result.metas
    return {
        "variant": result.variant,
        "layer": result.place.layer,
        "hook": result.place.hook,
        "act": meta.act,
        "root_variant": meta.root_variant,
        "factor": meta.factor,
        "start_runs": _listed(result.start_runs) or None,
        "n_seeds": result.n_seeds,
        "seeds": _listed(each.seed for each in metas),
        "runs": _listed(each.run for each in metas),
        "steps": _listed(each.step for each in metas),
        "tokens_seen": result.tokens_seen,
        "score_manifests": _listed(each.cell.hash for each in result.cells),
        "checkpoint_hashes": _listed(each.checkpoint_hash for each in metas),
        "data_hash": meta.data_hash,
        "n_params": meta.n_params,
        "n_neurons": meta.n_neurons,
        "eval_loss": result.eval_loss,
        "unigram_loss": result.unigram_loss,
        "bigram_loss": result.bigram_loss,
        "dead_share": result.dead_share,
        "rare_share": result.rare_share,
        "dense_share": result.dense_share,
        "always_on_share": result.always_on_share,
        "median_firing_rate": result.firing_rate,
        "peak_lr": _listed(f"{rate:g}" for rate in result.peak_rates),
    }


def _over_seeds(score: ComparedScore, summary: ScoreSummary) -> dict[str, Value | Estimate]:
    decides = score.verdict.judged_by
    row: dict[str, Value | Estimate] = {
        "median": summary.median,
        "n_judged": summary.n_judged,
        "na_share": summary.na_share,
        "mono_share_all": summary.share_all,
        "single_token_share": summary.single_token_share,
        **({} if decides is None else {decides.column: summary.judged_by}),
        **({} if score.verdict.seen is None else {"seen_share": summary.seen}),
        "mono_share": summary.share,
        "mono_share_by_seed": _listed(f"{share:.6g}" for share in summary.share_by_seed),
        "mono_number": summary.number,
        "mono_once": summary.once,
        "mono_once_share": summary.once_share,
        "mono_share_within": summary.within,
    }
    for name, null in summary.nulls.items():
        row |= {
            f"{name}_share": null.share,
            f"{name}_share_low": null.low,
            f"{name}_share_high": null.high,
            f"{name}_n": null.n,
            f"{name}_excess": null.excess,
            f"{name}_z": null.z,
        }
    return row


def _listed(values: Iterable[object]) -> str:
    return " ".join(map(str, values))
