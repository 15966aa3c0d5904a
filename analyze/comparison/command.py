"""Variants x seeds -> monosemantic shares with intervals, differences, and what chance would give."""

import io
from collections.abc import Iterable, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analyze.comparison.comparison import Comparison
from analyze.comparison.controls import arms_beside_controls, finite, interval
from analyze.comparison.results import Cell, final_cells, find_cells, require_same_tokens, untrained_cells, untrained_of
from analyze.comparison.separation import tell
from analyze.comparison.summary import JUDGES, NULLS_SHOWN, Judge, Measured, measure
from analyze.comparison.table import as_markdown
from analyze.statistics import (
    Estimate,
    benjamini_hochberg,
    cliffs_delta,
    cluster_bootstrap,
    holm,
    mean_interval,
    paired_interval,
    sign_flip_if_enough,
    two_share_z,
    wilson,
)
from train.errors import BadInput, did_you_mean
from train.files import write_atomic


def compare(
    dirs: Iterable[Path | str],
    out: Path | str,
    reference: str | None = None,
    primaries: Sequence[str] = ("k_eff",),
) -> Comparison:
    """Compare all scored runs under `dirs` and write comparison.{md,csv,parquet} into `out`.

    Args:
        dirs: results directories, searched for scores; their order is the order of the variants.
        reference: variant that differences are taken to; default the first.
        primaries: scores whose contrasts are the planned tests (Holm); the others are corrected by
            Benjamini and Hochberg.

    Raises:
        BadInput: no scores, two runs of one variant and seed, runs on other data or another token sample,
            or a reference or primary that is not there.
    """
    comparison = comparison_of(find_cells(dirs), reference, primaries)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    parquet = io.BytesIO()
    comparison.rows.write_parquet(parquet)
    write_atomic(out / "comparison.parquet", parquet.getvalue())
    write_atomic(out / "comparison.csv", comparison.rows.write_csv().encode())
    write_atomic(out / "comparison.md", as_markdown(comparison).encode())
    return comparison


def comparison_of(
    cells: Sequence[Cell], reference: str | None = None, primaries: Sequence[str] = ("k_eff",)
) -> Comparison:
    """As `compare`, from cells and without writing."""
    require_same_tokens(cells)
    finals = final_cells(cells)
    reference = next(iter(finals)) if reference is None else reference
    if reference not in finals:
        raise BadInput(f"reference: no variant {reference!r} among the runs{did_you_mean(reference, list(finals))}")
    # The reference leads; what starts from a checkpoint stands behind what was trained from scratch.
    begun = {cell.meta["variant"]: cell.meta["start_run"] is not None for cell in cells}
    finals = dict(sorted(finals.items(), key=lambda item: (item[0] != reference, begun[item[0]])))
    columns = set(next(iter(next(iter(finals[reference].values())).values())).neurons().columns)
    judges = tuple(judge for judge in JUDGES if judge.verdict in columns)
    known = [judge.name for judge in judges]
    for primary in primaries:
        if primary not in known:
            raise BadInput(f"primaries: no score {primary!r}{did_you_mean(primary, known)}")

    births = untrained_cells(cells)
    memory: dict[Path, dict[str, tuple[float, float]]] = {}
    measured: dict[tuple[str, int, str], dict[int, Measured]] = {}
    for variant, places in finals.items():
        for place, seeds in places.items():
            measured[variant, *place] = {
                seed: measure(cell, judges, untrained_of(cell, births), memory) for seed, cell in sorted(seeds.items())
            }
    rows = [_row(by_seed, judges) for by_seed in measured.values()]
    n_tests = 0
    for judge in judges:
        contrasts = [_contrast(key, measured, reference, judge) for key in measured]
        for row, contrast in zip(rows, contrasts):
            row.update({f"{judge.name}_{name}": value for name, value in contrast.items()})
        if judge.name in primaries:
            n_tests += sum(contrast["difference"] is not None for contrast in contrasts)
    _adjust(rows, judges, primaries)
    for row in rows:
        row |= {"reference": reference, "primaries": " ".join(primaries)}
    shared = cells[0].meta
    losses = [row["unigram_loss"] for row in rows], [row["bigram_loss"] for row in rows]
    facts = {
        **{key: shared[key] for key in ("data_hash", "n_ctx", "n_tokens", "n_sampled_tokens")},
        "tokens_hash": cells[0].tokens_hash,
        "unigram_loss": losses[0][0] if len(set(losses[0])) == 1 else None,
        "bigram_loss": losses[1][0] if len(set(losses[1])) == 1 else None,
    }
    frame = pl.DataFrame(rows, infer_schema_length=None)
    arms, told = arms_beside_controls(rows, measured, judges), tuple(tell(cells, reference))
    return Comparison(frame, arms, judges, reference, tuple(primaries), n_tests, told, facts)


def _row(by_seed: dict[int, Measured], judges: Sequence[Judge]) -> dict[str, Any]:
    """One row: a variant's layer and hook over its seeds, without differences to the reference."""
    measured = list(by_seed.values())
    metas = [each.cell.meta for each in measured]
    first = metas[0]

    def over_seeds(name: str) -> Estimate:
        return mean_interval([each.figures[name] for each in measured])

    def listed(values: Iterable[object]) -> str:
        return " ".join(str(value) for value in values)

    row: dict[str, Any] = {key: first[key] for key in ("variant", "layer", "hook", "act", "root_variant")}
    row |= {
        "factor": first["factor"],
        "start_runs": listed(Path(meta["start_run"]).name for meta in metas if meta["start_run"]) or None,
        "n_seeds": len(measured),
        "seeds": listed(by_seed),
        "runs": listed(meta["run"] for meta in metas),
        "steps": listed(meta["step"] for meta in metas),
        "tokens_seen": max(meta["tokens_seen"] for meta in metas),
        "score_manifests": listed(each.cell.hash for each in measured),
        "checkpoint_hashes": listed(meta["checkpoint_hash"] for meta in metas),
        "data_hash": first["data_hash"],
        "n_params": first["n_params"],
        "n_neurons": first["n_neurons"],
    }
    losses = [nan if meta["eval_loss"] is None else float(meta["eval_loss"]) for meta in metas]
    row |= interval("eval_loss", mean_interval(losses))
    for baseline in ("unigram_loss", "bigram_loss"):
        known = [meta[baseline] for meta in metas if meta[baseline] is not None]
        row[baseline] = float(np.mean(known)) if known else None
    for share in ("dead_share", "rare_share", "dense_share", "always_on_share"):
        row[share] = over_seeds(share).mean
    for judge in judges:
        name = judge.name
        for figure in (
            "median",
            "n_judged",
            "na_share",
            "mono_share_all",
            "single_token_share",
        ):
            row[f"{name}_{figure}"] = finite(over_seeds(f"{name}_{figure}").mean)
        if name == "k_eff":
            row["k_eff_reach"] = finite(over_seeds("k_eff_reach").mean)
        row |= interval(f"{name}_mono_share", over_seeds(f"{name}_mono_share"), 0.0, 1.0)
        row[f"{name}_mono_share_by_seed"] = listed(f"{each.figures[f'{name}_mono_share']:.6g}" for each in measured)
        row |= interval(f"{name}_mono_number", over_seeds(f"{name}_mono_number"), 0.0)
        row |= interval(f"{name}_mono_once", over_seeds(f"{name}_mono_once"), 0.0)
        row |= interval(f"{name}_mono_once_share", over_seeds(f"{name}_mono_once_share"), 0.0, 1.0)
        row |= interval(f"{name}_mono_share_within", _within(measured, name), 0.0, 1.0)
        row |= _against_chance(measured, name)
    return row


def _within(measured: Sequence[Measured], name: str) -> Estimate:
    """Spread of neurons at these seeds: bootstrap over clusters of duplicates, each within one seed."""
    values = np.concatenate([each.verdicts[name] for each in measured])
    pairs = [
        np.stack([np.full(each.clusters[name].size, index), each.clusters[name]]) for index, each in enumerate(measured)
    ]
    _, clusters = np.unique(np.concatenate(pairs, axis=1), axis=1, return_inverse=True)
    return cluster_bootstrap(values, clusters.reshape(-1), draws=400)


def _against_chance(measured: Sequence[Measured], name: str) -> dict[str, Any]:
    """Shares called monosemantic in the nulls, the excess over each (paired by seed), and z.

    z = (share - null share) / sqrt(p (1 - p) (1 / n + 1 / n_null)), p the pooled share, over the neurons of
    all seeds with each cluster of duplicates counted once. It takes neurons for
    independent and seeds for fixed.
    """
    row: dict[str, Any] = {}
    for null in NULLS_SHOWN:
        having = [each for each in measured if (name, null) in each.chance]
        counts = [each.chance[name, null] for each in having]
        mono, judged = (float(sum(column)) for column in zip(*counts)) if counts else (0.0, 0.0)
        shares = [each.figures[f"{name}_{null}_share"] for each in measured]
        own = [each.figures[f"{name}_mono_once_share"] for each in measured]
        low, high = wilson(mono, judged)
        row[f"{name}_{null}_share"] = finite(mean_interval(shares).mean)
        row[f"{name}_{null}_share_low"], row[f"{name}_{null}_share_high"] = finite(low), finite(high)
        row[f"{name}_{null}_n"] = judged
        row |= interval(f"{name}_{null}_excess", paired_interval(own, shares))
        n_mono = sum(each.figures[f"{name}_mono_once"] for each in having)
        n_own = sum(np.unique(each.clusters[name]).size for each in having)
        row[f"{name}_{null}_z"] = finite(two_share_z((n_mono, mono), (float(n_own), judged)))
    return row


def _contrast(
    key: tuple[str, int, str],
    measured: dict[tuple[str, int, str], dict[int, Measured]],
    reference: str,
    judge: Judge,
) -> dict[str, Any]:
    """Difference of the monosemantic share to the reference's same layer and hook, paired by seed.

    Each cluster of duplicates counts once, so that copies do not move it.
    """
    variant, layer, hook = key
    partner = measured.get((reference, layer, hook)) or measured.get((reference, layer, "mid")) or {}
    seeds = sorted(set(measured[key]) & set(partner)) if variant != reference else []
    own = [measured[key][seed].figures[f"{judge.name}_mono_once_share"] for seed in seeds]
    theirs = [partner[seed].figures[f"{judge.name}_mono_once_share"] for seed in seeds]
    p = sign_flip_if_enough([a - b for a, b in zip(own, theirs)])
    deltas = [cliffs_delta(measured[key][seed].ranks[judge.name], partner[seed].ranks[judge.name]) for seed in seeds]
    found = paired_interval(own, theirs)
    return {
        **interval("difference", found, -1.0, 1.0),
        "difference_n": found.n,
        "cliffs_delta": finite(mean_interval(deltas).mean),
        "p": p,
    }


def _adjust(rows: list[dict[str, Any]], judges: Sequence[Judge], primaries: Sequence[str]) -> None:
    """Fill `<score>_p_adjusted`: Holm over the primaries' contrasts, Benjamini-Hochberg over the rest."""
    planned = [(row, judge.name) for judge in judges for row in rows if judge.name in primaries]
    others = [(row, judge.name) for judge in judges for row in rows if judge.name not in primaries]
    for family, correct in ((planned, holm), (others, benjamini_hochberg)):
        given = np.array([nan if row[f"{name}_p"] is None else row[f"{name}_p"] for row, name in family])
        for (row, name), adjusted in zip(family, correct(given.astype(np.float64))):
            row[f"{name}_p_adjusted"] = finite(float(adjusted))
