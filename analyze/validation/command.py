"""`polysem truth`: plant neurons, measure scores on them, judge the scores, and write what came of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import polars as pl

from analyze.scores import SCORES
from analyze.scores.base import NeuronScore
from analyze.scores.fingerprint import fingerprint
from analyze.scores.validity import FORMAT_VERSION, as_json, from_json, publish
from analyze.validation.admission import Admitted
from analyze.validation.admitting import admit_on
from analyze.validation.design import PLANTED_HASH
from analyze.validation.features import Part
from analyze.validation.judge import references, validities
from analyze.validation.measure import measure, why_not
from analyze.validation.page import page, table
from analyze.validation.plant import Corpus
from train.data.tokens import TokenFile
from train.errors import BadInput, did_you_mean
from train.files import canonical_json, found_or_made, manifest_hash
from train.parquet import write_parquet

VALIDITIES = "validities.json"
CACHE = "measured"
"""Directory beside the result: what each score made of each planted set, one file each."""


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

    OUT/measured/ keeps what each score made of each planted set, so that a stopped run goes on from there. A second
    run with the same inputs and the same code finds the whole result.

    Args:
        data: directory that `train prepare` wrote.
        part: which features to plant; only `held` may be published.
        names: names of scores; None: all of SCORES.
        toys: finished toys, for the scores that read them.
        say: takes lines about progress.

    Raises:
        BadInput: an unknown score, a part that may not be published, or a corpus too small to plant on.
    """
    if to_publish and part != "held":
        raise BadInput("--publish: only what was measured with --features held may be published")
    for name in names or ():
        if name not in SCORES:
            raise BadInput(f"--scores: {name!r} is not known{did_you_mean(name, list(SCORES))}")
    held_out = TokenFile.open(data, split="eval")
    measurement = _Measurement(held_out, part, [SCORES[name] for name in names or SCORES], toys, out / CACHE, say)
    final = out / "validity"
    if found_or_made(final, measurement.facts(), measurement.write):
        say(f"found {final}")
    if to_publish:
        measured = json.loads((final / VALIDITIES).read_text(encoding="utf-8"))
        say(f"wrote {publish([from_json(validity) for validity in measured])}")
    return final


@dataclass(frozen=True)
class _Measurement:
    """Everything that one result depends on."""

    held_out: TokenFile
    part: Part
    scores: list[NeuronScore]
    toys: tuple[Path, ...]
    cache: Path
    say: Callable[[str], None]

    def facts(self) -> dict[str, object]:
        """The inputs, and a hash of the code of the scores and of the measurement."""
        modules = ["analyze.validation.command", *(type(score).__module__ for score in self.scores)]
        return {
            "kind": "validity",
            "format_version": FORMAT_VERSION,
            "data_hash": self.held_out.data_hash,
            "part": self.part,
            "scores": [score.name for score in self.scores],
            "planted_hash": PLANTED_HASH,
            "toys": [manifest_hash(toy) for toy in self.toys],
            "code": sha256("".join(fingerprint(module, deep=True) for module in modules).encode()).hexdigest(),
        }

    def write(self, directory: Path) -> None:
        """Measure, and write the tables and the page into a directory."""
        corpus, where = Corpus.of(self.held_out), self.held_out.directory
        self.say(f"{where}: {len(corpus.tokens):,} held-out tokens; comparing features with what scores read")
        everything = admit_on(corpus)
        for line in everything.lines():
            self.say(line)
        admitted = everything.of(self.part)
        if not admitted.features:
            raise BadInput(f"{where}: no feature of part {self.part} can be planted there; give a larger corpus")
        readable = [score for score in self.scores if not why_not(score)]
        measured = measure(corpus, admitted, readable, self.cache, self.say)
        judged = validities(corpus, admitted, self.scores, measured, list(self.toys), self.say)
        inputs = {"data": self.held_out.data_hash, "admitted": admitted.hash}
        text = page(judged, everything, references(admitted), inputs)
        write_parquet(table(judged), directory / "validity.parquet")
        (directory / "validity.md").write_text(text, encoding="utf-8")
        (directory / VALIDITIES).write_bytes(canonical_json([as_json(validity) for validity in judged]))
        write_parquet(refused(everything), directory / "refused.parquet")


def refused(everything: Admitted) -> pl.DataFrame:
    """One row for each feature that is not planted: feature, part, why, by (the set that keeps it out)."""
    rows = [(refusal.feature.name, refusal.feature.part, refusal.why, refusal.by) for refusal in everything.refused]
    return pl.DataFrame(rows, schema=dict.fromkeys(("feature", "part", "why", "by"), pl.String), orient="row")
