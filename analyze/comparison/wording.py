"""What must be said beside the numbers of a comparison: tests, reasons to doubt, the meaning of words."""

from typing import Any

from analyze.comparison.comparison import Comparison
from analyze.comparison.summary import NULLS_SHOWN
from analyze.scores import SCORES
from analyze.scores.k_eff import LEAST_REACH
from analyze.scores.validity import validity_of
from analyze.statistics import minimum_seeds
from analyze.tables import count


def with_interval(row: dict[str, Any], key: str, form: Any) -> str:
    """`mean [low, high]`, or the mean alone where one seed gives no interval."""
    middle = form(row[key])
    if row[key] is None or row[f"{key}_low"] is None:
        return middle
    return f"{middle} [{form(row[f'{key}_low'])}, {form(row[f'{key}_high'])}]"


def place(row: dict[str, Any]) -> str:
    """`gelu L0.mid`."""
    return f"{row['variant']} L{row['layer']}.{row['hook']}"


def tests_made(comparison: Comparison) -> str:
    """Which tests were made, or why none was."""
    n, m = int(comparison.rows["n_seeds"].max() or 0), max(comparison.n_tests, 1)  # pyright: ignore[reportArgumentType]
    needed = minimum_seeds(m)
    if comparison.n_tests == 0:
        return "No test was made: there is no contrast with the reference."
    contrasts = f"{m} planned contrast{'s' if m > 1 else ''}"
    if n < minimum_seeds():
        held = "1 seed is held" if n == 1 else f"{n} seeds are held"
        return (
            f"No test was made: an exact two-sided sign-flip test at 0.05 needs {minimum_seeds()} seeds "
            f"for one "
            f"contrast and {needed} for the {contrasts} here under Holm's correction; {held}. "
            "Differences below are estimates, not findings."
        )
    found = []
    for row in comparison.rows.iter_rows(named=True):
        for judge in comparison.judges:
            p, adjusted = row[f"{judge.name}_p"], row[f"{judge.name}_p_adjusted"]
            if p is not None and judge.name in comparison.primaries:
                found.append(f"{place(row)} {judge.title}: p = {p:.3g}, adjusted {adjusted:.3g}")
    enough = "" if n >= needed else f" With {n} seeds none of them can reach 0.05 (that takes {needed})."
    return (
        f"Exact two-sided sign-flip tests of the {contrasts} with {comparison.reference}, Holm's correction: "
        f"{'; '.join(found)}.{enough}"
    )


def doubts(comparison: Comparison) -> tuple[str, ...]:
    """What in these numbers should make a reader doubt them, one sentence each."""
    rows = list(comparison.rows.iter_rows(named=True))
    reference = next(row for row in rows if row["variant"] == comparison.reference)
    found = []
    least = min(row["n_seeds"] for row in rows)
    if least == 1:
        names = sorted({row["variant"] for row in rows if row["n_seeds"] == 1})
        found.append(f"One seed only, so no interval at all: {', '.join(names)}.")
    elif least < 6:
        wide = " At 2 seeds a 95 % t interval is 12.7 standard errors either way." if least == 2 else ""
        found.append(f"Only {least} seeds: intervals over seeds are wide.{wide}")

    def name_rows(test: Any) -> str:
        return ", ".join(place(row) for row in rows if test(row))

    for judge in comparison.judges:
        measured = validity_of(judge.name)
        if measured is None or not measured.headline:
            said = "it has not been measured" if measured is None else measured.line()
            found.append(f"{judge.title} has not passed on planted neurons, so its shares only describe: {said}.")
        for null, shown in NULLS_SHOWN.items():
            what, excess = shown.phrase, f"{judge.name}_{null}_excess"
            below = name_rows(lambda row, key=excess: row[key] is not None and row[key] <= 0)
            if below:
                found.append(f"By {judge.title}, no more monosemantic neurons than {what} shows: {below}.")
            missing = name_rows(lambda row, key=excess: row[key] is None)
            if missing:
                found.append(f"By {judge.title}, not held against {what}, which is not there: {missing}.")
    slow = name_rows(
        lambda r: None not in (r["eval_loss"], r["bigram_loss"]) and r["eval_loss"] > r["bigram_loss"] - 0.1
    )
    if slow:
        found.append(f"Predicts held-out text no better than 0.1 nats below a bigram: {slow}.")
    apart = name_rows(
        lambda r: (
            None not in (r["eval_loss"], reference["eval_loss"]) and abs(r["eval_loss"] - reference["eval_loss"]) > 0.1
        )
    )
    if apart:
        found.append(
            f"Evaluation loss more than 0.1 nats from {comparison.reference}'s, and shares change with "
            f"training: {apart}."
        )
    unequal = name_rows(lambda row: len(set(row["steps"].split())) > 1)
    if unequal:
        found.append(f"Seeds stand at different steps: {unequal}.")
    scratch = {row["tokens_seen"] for row in rows if not row["start_runs"]}
    if len(scratch) > 1:
        found.append(f"Variants from scratch saw unequal numbers of tokens: {', '.join(map(count, sorted(scratch)))}.")
    single = name_rows(lambda row: (row.get("k_eff_single_token_share") or 0) > 0.5)
    if single:
        found.append(f"More than half of the neurons K_eff calls monosemantic answer to a single token: {single}.")
    unjudged = name_rows(lambda row: (row.get("k_eff_na_share") or 0) > 0.5)
    if unjudged:
        found.append(f"K_eff judges fewer than half of the scored neurons (reach below {LEAST_REACH}): {unjudged}.")
    return tuple(found)


GLOSSARY = (
    (
        "mono",
        "monosemantic by that score. "
        + " ".join(score.verdict.meaning for score in SCORES.values() if score.verdict and score.verdict.shown),
    ),
    (
        "scored, all",
        "a neuron is scored if it is neither dead (range at most 1e-6 of the layer's median range) nor "
        "rare (fires in fewer than 30 documents). `mono % of scored` leaves out, beside these, neurons "
        "that the score "
        "does not judge (NA); `mono % of all` divides by every neuron of the layer.",
    ),
    (
        "duplicates once",
        "neurons whose activations correlate above 0.95 form a cluster; it counts as one neuron, "
        "shared by its members.",
    ),
    ("single-token", "share of the monosemantic neurons that answer to one token only."),
    (
        "untrained, rotated, W_in rotated",
        "the same score on the same variant at step 0; on a random (Haar) rotation of the trained layer's activations; "
        "and on the layer run again with W_in rotated and biases refitted, so that its directions fire as often as the "
        "neurons do. A score by which a trained model beats none of them has shown nothing.",
    ),
    (
        "z",
        "(share - rotated share) / sqrt(p (1 - p) (1 / n + 1 / n_rotated)), p the pooled share, n the "
        "neurons of "
        "all seeds with clusters counted once. It takes neurons for independent and seeds for fixed: a "
        "description of "
        "these networks, not a test.",
    ),
    (
        "intervals",
        "95 % t intervals over seeds, cut at 0 and 100 %. The seed is the unit: seeds share initial weights "
        "and order of data between variants, so differences are paired. With one seed there is none.",
    ),
    (
        "mid, post",
        "activations before and after a LayerNorm between activation and W_out; networks without one have "
        "mid alone, which stands for both when `post` is compared with them.",
    ),
    (
        "dense, always on",
        "dense: fires on more than half of the tokens (above 0.1 x the 99.99th percentile); always "
        "on: its 1st percentile lies above zero.",
    ),
)
