"""A comparison as columns, for comparison.parquet and comparison.csv; nothing else knows their names."""

from collections.abc import Iterable
from math import isfinite

import polars as pl

from analyze.comparison.comparison import Comparison
from analyze.comparison.summary import ComparedScore
from analyze.comparison.variants import NullSummary, ScoreSummary, VariantResult
from analyze.statistics import Estimate

Value = str | int | float | None


def flattened(comparison: Comparison) -> pl.DataFrame:
    """One row a variant, layer and hook; `_low` and `_high` are the ends of intervals, null where there is none."""
    secondary = [score for score in comparison.scores if score.name not in comparison.primaries]
    primary = [score for score in comparison.scores if score.name in comparison.primaries]
    rows = []
    for result in comparison.rows:
        row = _variant(result)
        for score in comparison.scores:
            row |= _over_seeds(score, result.scores[score.name])
        for score in comparison.scores:
            row |= _against_reference(score.name, result.scores[score.name])
        for score in (*primary, *secondary):
            row[f"{score.name}_p_adjusted"] = _finite(result.scores[score.name].p_adjusted)
        rows.append(row | {"reference": comparison.reference, "primaries": " ".join(comparison.primaries)})
    return pl.DataFrame(rows, infer_schema_length=None)


def _variant(result: VariantResult) -> dict[str, Value]:
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
        **_interval("eval_loss", result.eval_loss),
        "unigram_loss": _finite(result.unigram_loss),
        "bigram_loss": _finite(result.bigram_loss),
        "dead_share": result.dead_share,
        "rare_share": result.rare_share,
        "dense_share": result.dense_share,
        "always_on_share": result.always_on_share,
    }


def _over_seeds(score: ComparedScore, summary: ScoreSummary) -> dict[str, Value]:
    decides = score.verdict.judged_by
    row = {
        "median": _finite(summary.median),
        "n_judged": _finite(summary.n_judged),
        "na_share": _finite(summary.na_share),
        "mono_share_all": _finite(summary.share_all),
        "single_token_share": _finite(summary.single_token_share),
        **({} if decides is None else {decides.column: _finite(summary.judged_by)}),
        **_interval("mono_share", summary.share),
        "mono_share_by_seed": _listed(f"{share:.6g}" for share in summary.share_by_seed),
        **_interval("mono_number", summary.number),
        **_interval("mono_once", summary.once),
        **_interval("mono_once_share", summary.once_share),
        **_interval("mono_share_within", summary.within),
    }
    for name, null in summary.nulls.items():
        row |= _null(name, null)
    return {f"{score.name}_{column}": value for column, value in row.items()}


def _null(name: str, null: NullSummary) -> dict[str, Value]:
    return {
        f"{name}_share": _finite(null.share),
        f"{name}_share_low": _finite(null.low),
        f"{name}_share_high": _finite(null.high),
        f"{name}_n": null.n,
        **_interval(f"{name}_excess", null.excess),
        f"{name}_z": _finite(null.z),
    }


def _against_reference(name: str, summary: ScoreSummary) -> dict[str, Value]:
    return {
        **_interval(f"{name}_difference", summary.difference),
        f"{name}_difference_n": summary.difference.n,
        f"{name}_cliffs_delta": _finite(summary.cliffs_delta),
        f"{name}_p": _finite(summary.p),
    }


def _interval(name: str, estimate: Estimate) -> dict[str, Value]:
    return {name: _finite(estimate.mean), f"{name}_low": _finite(estimate.low), f"{name}_high": _finite(estimate.high)}


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _listed(values: Iterable[object]) -> str:
    return " ".join(map(str, values))
