"""`python -m analyze truth`: plant, measure, judge, write; a second run finds its result."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.labels.bank import LabelBank, bank_on
from analyze.rules.build import grammar_on
from analyze.scores import SCORES
from analyze.scores.base import NeuronScore
from analyze.scores.fingerprint import fingerprint
from analyze.scores.validity import FORMAT_VERSION, as_json, from_json, publish
from analyze.validation.admission import Admitted, Rules, admitted
from analyze.validation.design import PLANTED_HASH
from analyze.validation.features import Part
from analyze.validation.page import page, table
from analyze.validation.plant import Ground
from analyze.validation.reading import Reading
from analyze.validation.trial import measure, why_not
from analyze.validation.validity import references, validities
from train.data.tokens import TokenFile
from train.errors import BadInput, did_you_mean
from train.files import canonical_json, manifest_hash, publishing, verify

VALIDITIES = "validities.json"
KEPT = "measured"
"""Beside the result: what each score made of each case, one file each."""


class Labels:
    """The labels of a bank at some positions of the stream, as sets that scores read."""

    kind = "label"

    def __init__(self, bank: LabelBank, positions: Int[ndarray, "t"]) -> None:
        self.names = bank.names
        self._held = sp.csr_array(bank.matrix(positions).T)
        self.sizes = np.asarray(self._held.sum(axis=1)).ravel()

    def shared(self, inside: Bool[ndarray, "t f"]) -> Float[ndarray, "r f"]:
        """Tokens of each label and each feature."""
        return np.asarray(self._held @ inside.astype(np.float64))


def admitted_on(ground: Ground) -> Admitted:
    """The features of a corpus that neither the grammar nor the label bank reads."""
    positions = np.asarray(ground.tokens.stream_position, np.int64)
    grammar = grammar_on(ground.data, positions, np.asarray(ground.tokens.is_fit))
    read = (Rules(grammar, positions), Labels(bank_on(ground.data), positions))
    return admitted(Reading.of(ground.data), positions, read)


def truth(
    data: Path,
    out: Path,
    part: Part,
    names: tuple[str, ...] | None,
    toys: tuple[Path, ...],
    to_publish: bool,
    say: Callable[[str], None],
) -> Path:
    """Measure scores on planted neurons and write OUT/validity/: validity.md, validity.parquet, refused.parquet.

    What scores made of each case is kept in OUT/measured/, so that a stopped run goes on; the same inputs and
    code find the whole result.

    Args:
        data: what `train prepare` wrote.
        part: of the features; only `held` may be published.
        names: which of SCORES; None: all.
        toys: finished toys, for the scores that read them.
        say: told about progress.

    Raises:
        BadInput: no such score; a part that may not be published; a corpus too small to plant on.
    """
    if to_publish and part != "held":
        raise BadInput("--publish: only what was measured with --features held may be published")
    for name in names or ():
        if name not in SCORES:
            raise BadInput(f"--scores: {name!r} is not known{did_you_mean(name, list(SCORES))}")
    scores: list[NeuronScore] = [SCORES[name] for name in names or SCORES]
    held_out = TokenFile.open(data, split="eval")
    facts = _facts(held_out, part, scores, toys)
    final = out / "validity"
    if _is_there(final, facts):
        say(f"found {final}")
    else:
        _write(final, facts, held_out, part, scores, list(toys), say)
    if to_publish:
        given = json.loads((final / VALIDITIES).read_text(encoding="utf-8"))
        say(f"wrote {publish([from_json(one) for one in given])}")
    return final


def _write(
    final: Path,
    facts: dict[str, Any],
    held_out: TokenFile,
    part: Part,
    scores: list[NeuronScore],
    toys: list[Path],
    say: Callable[[str], None],
) -> None:
    ground = Ground.of(held_out)
    say(f"{held_out.directory}: {len(ground.tokens):,} held-out tokens; holding features against what scores read")
    everything = admitted_on(ground)
    for line in everything.lines():
        say(line)
    bank = everything.of(part)
    if not bank.features:
        raise BadInput(f"{held_out.directory}: no feature of part {part} can be planted there; give a larger corpus")
    measurable = [one for one in scores if not why_not(one)]
    measured = measure(ground, bank, measurable, final.parent / KEPT, say)
    found = validities(ground, bank, scores, measured, toys, say)
    with publishing(final, facts, replace=True) as aside:
        table(found).write_parquet(aside / "validity.parquet")
        planted: dict[str, object] = {"data": held_out.data_hash, "admitted": bank.hash}
        (aside / "validity.md").write_text(page(found, everything, references(bank), planted), encoding="utf-8")
        (aside / VALIDITIES).write_bytes(canonical_json([as_json(one) for one in found]))
        refused(everything).write_parquet(aside / "refused.parquet")


def refused(everything: Admitted) -> pl.DataFrame:
    """One row a feature that is not planted: feature, part, why, by (the set that keeps it out)."""
    rows = [(one.feature.name, one.feature.part, one.why, one.by) for one in everything.refused]
    return pl.DataFrame(rows, schema=dict.fromkeys(("feature", "part", "why", "by"), pl.String), orient="row")


def _facts(held_out: TokenFile, part: Part, scores: list[NeuronScore], toys: tuple[Path, ...]) -> dict[str, Any]:
    """All that the result depends on; the code of the scores and of the measurement as a hash of what it parses to."""
    modules = ["analyze.validation.command", *(type(one).__module__ for one in scores)]
    return {
        "kind": "validity",
        "format_version": FORMAT_VERSION,
        "data_hash": held_out.data_hash,
        "part": part,
        "scores": [one.name for one in scores],
        "planted_hash": PLANTED_HASH,
        "toys": [manifest_hash(one) for one in toys],
        "code": sha256("".join(fingerprint(one, deep=True) for one in modules).encode()).hexdigest(),
    }


def _is_there(final: Path, facts: dict[str, Any]) -> bool:
    return final.is_dir() and {key: one for key, one in verify(final).items() if key != "files"} == facts
