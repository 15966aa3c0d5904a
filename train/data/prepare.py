"""From a DATA.toml to a sealed directory of tokens: read, mix, split, fit the tokenizer, pack."""

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from train.configfile import differences, load_config, to_toml
from train.data.config import DataConfig, SourceConfig
from train.data.content import CONTENTS
from train.data.corpora import LIMITS, Decoder, Limits, content_of, read_documents, source_credit, source_files
from train.data.hub import Shards, folder_hash, read_shards
from train.data.notes import notes, vocabulary_facts, warnings
from train.data.packing import pack
from train.data.readymade import HUB, ready_made, tokenizer_file
from train.data.spool import Spool
from train.data.tokens import FORMAT_VERSION, read_data_manifest
from train.errors import BadInput
from train.files import RECORD, publishing, read_json, verify
from train.filesystem import require_space
from train.hashes import known_sha256, sha256_file

if TYPE_CHECKING:
    pass

SHARDS = "shards"
"""Beside prepared data: what was read of the hub."""

CHARS_A_TOKEN = 6
"""More than prose and code have in vocabularies of up to 100,000; shorter tokens only leave text over."""

_MAX_RECORD_BYTES = 2**20


@dataclass(frozen=True)
class Prepared:
    """A data directory, whether it was there before, and what its manifest says."""

    directory: Path
    found: bool
    facts: dict[str, Any]
    record: dict[str, Any] = field(default_factory=dict)
    """How it went, which the data's hash leaves out; empty for data that older versions prepared."""

    def notes(self) -> list[str]:
        """What was left out, replaced or met, and how much of the vocabulary training sees."""
        return notes(self.facts, self.record)

    def warnings(self) -> list[str]:
        """What makes losses on held-out text doubtful."""
        return warnings(self.record)

    def line(self) -> str:
        """The outcome in one line."""
        facts = self.facts
        return (
            f"{'found' if self.found else 'wrote'} {self.directory}: "
            f"{facts['n_tokens']['fit']:,} training and {facts['n_tokens']['eval']:,} held-out tokens, "
            f"{facts['n_documents']['fit']:,} and {facts['n_documents']['eval']:,} documents, "
            f"{facts['n_duplicates']:,} duplicates, {facts['d_vocab']:,} words"
        )


def prepare(
    config: DataConfig | str | Path, out: str | Path, progress: bool | None = None, limits: Limits = LIMITS
) -> Prepared:
    """Write the data directory of a config, or find it at `out`.

    Documents of all sources lie in the order of a hash of their text, so that any stretch of the stream is a fair
    sample. Another hash decides which documents are held out, so that no choice depends on another.

    Args:
        config: a config, or the path of a DATA.toml.
        progress: show a bar; default: only on a terminal.

    Raises:
        BadInput: wrong text, too little text, or `out` holds something else (naming what differs).
        EnvironmentProblem: a package is missing, the disk is full.
    """
    config = config if isinstance(config, DataConfig) else load_config(DataConfig, config)
    out = Path(out)
    local = [{} if source.kind == "hub" else source_files(source) for source in config.sources]
    if out.exists():
        return _find(config, out, [_hashes(files) for files in local])
    show = sys.stderr.isatty() if progress is None else progress
    out.parent.mkdir(parents=True, exist_ok=True)
    ready = None if config.tokenizer is None else ready_made(config)
    shards = _read_hub(config, out.parent / SHARDS, limits, show)
    files = [shards[number].files if number in shards else each for number, each in enumerate(local)]
    hashes = [_hashes(each) for each in files]
    require_space(out.parent, 3 * sum(path.stat().st_size for each in files for path in each.values()))
    decoder = Decoder(replace=config.invalid_utf8 == "replace")
    for each in shards.values():
        each.count_into(decoder)
    facts: dict[str, Any] = {}
    with publishing(out, facts) as aside:
        spool_path = aside / ".spool"
        with spool_path.open("w+b") as handle:
            spool = Spool(handle, config.eval_share, config.drop_duplicates)
            for number, source in enumerate(config.sources):
                documents = read_documents(source, files[number], decoder, limits)
                for document in tqdm(documents, f"reading {source.kind}", unit=" documents", disable=not show):
                    spool.add(number, document, content_of(document, source))
            chosen = _mixture(spool, [source.weight for source in config.sources], config.tokens is not None)
            _require_both_splits(spool, chosen, config)
            _require_more_training_text(spool, chosen, config)
            chosen, packed = pack(spool, chosen, config, ready, aside, show, limits, _source_names(config))
        spool_path.unlink()
        counted = {name: getattr(decoder, name) for name in ("n_nul", "first_nul", "n_null")}
        counted |= {"left_out": decoder.left_out} if decoder.left_out else {}
        record = {**counted, "vocabulary": vocabulary_facts(aside, packed["d_vocab"])}
        (aside / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        (aside / "data.toml").write_text(to_toml(config), encoding="utf-8")
        facts |= {
            "kind": "data",
            "format_version": FORMAT_VERSION,
            "config": config.model_dump(mode="json"),
            "n_ctx": config.n_ctx,
            "tokenizer_sha256": sha256_file(aside / "tokenizer.json"),
            "n_duplicates": spool.n_duplicates,
            "n_empty": spool.n_empty,
            "n_replaced": decoder.n_replaced,
            "sources": _describe_sources(config, spool, chosen, hashes, shards),
            **packed,
        } | ({} if ready is None else {"tokenizer": ready.facts})
    return Prepared(out, False, read_data_manifest(out), record)


def _hashes(files: dict[str, Path]) -> dict[str, str]:
    return {name: _hash(path) for name, path in files.items()}


def _hash(path: Path) -> str:
    try:
        return known_sha256(path)
    except OSError as failure:
        raise BadInput(f"{path}: cannot be read ({failure.strerror})") from None


def _read_hub(config: DataConfig, root: Path, limits: Limits, show: bool) -> dict[int, Shards]:
    """The shards of each hub source, by its number."""
    replace = config.invalid_utf8 == "replace"
    return {
        number: read_shards(source, root, _most_chars(config, source), replace, limits, progress=show)
        for number, source in enumerate(config.sources)
        if source.kind == "hub"
    }


def _most_chars(config: DataConfig, source: SourceConfig) -> int | None:
    """Characters of a source that surely suffice for the tokens asked for; a stream may have no end."""
    if config.tokens is None:
        return None
    share = source.weight / sum(each.weight for each in config.sources)
    return math.ceil(config.tokens / (1 - config.eval_share) * share * CHARS_A_TOKEN)


def _mixture(spool: Spool, weights: list[float], in_step: bool) -> np.ndarray:
    """The chosen documents: as many characters as the sources can give at their shares, each source's in hash order.

    Args:
        in_step: of every beginning of the documents the sources have their shares, so that packing can stop anywhere.
            Otherwise all lie in hash order, in which a source that gives but a part of its text lies in front.
    """
    if not spool.titles:
        raise BadInput(f"sources: no text in them ({spool.n_empty} blank documents)")
    n_chars, source = np.array(spool.n_chars, dtype=np.int64), np.array(spool.source, dtype=np.int64)
    order = np.argsort(np.array(spool.order, dtype=np.uint64), kind="stable")
    available = np.bincount(source, weights=n_chars, minlength=len(weights))
    if not available.all():
        raise BadInput(f"sources: number {int(np.argmin(available)) + 1} has no text of its own")
    shares = np.array(weights) / sum(weights)
    total = (available / shares).min()
    taken, place = np.zeros(len(n_chars), dtype=bool), np.zeros(len(n_chars))
    for number, share in enumerate(shares):
        mine = order[source[order] == number]
        before = np.cumsum(n_chars[mine]) - n_chars[mine]
        taken[mine[before < total * share - 0.5]] = True
        place[mine] = before / share
    if in_step:
        order = order[np.argsort(place[order], kind="stable")]
    return order[taken[order]]


def _require_both_splits(spool: Spool, chosen: np.ndarray, config: DataConfig) -> None:
    n_eval = int(np.array(spool.is_eval)[chosen].sum())
    for split, count in (("eval", n_eval), ("fit", len(chosen) - n_eval)):
        if not count:
            raise BadInput(
                f"sources: no {split} documents: all {len(chosen)} fall on the other side of "
                f"eval_share = {config.eval_share}; give more text or another eval_share"
            )


def _require_more_training_text(spool: Spool, chosen: np.ndarray, config: DataConfig) -> None:
    n_chars, is_eval = np.array(spool.n_chars)[chosen], np.array(spool.is_eval, dtype=bool)[chosen]
    held_out, fit = int(n_chars[is_eval].sum()), int(n_chars[~is_eval].sum())
    if held_out > fit and not config.allow_more_held_out:
        raise BadInput(
            f"eval_share: {held_out:,} characters of held-out text are more than the {fit:,} of training text; "
            "give a smaller eval_share or more documents, or set allow_more_held_out = true"
        )


def _source_names(config: DataConfig) -> list[str]:
    """The kinds, numbered where a kind occurs twice."""
    kinds = [source.kind for source in config.sources]
    return [f"{kind}-{i + 1}" if kinds.count(kind) > 1 else kind for i, kind in enumerate(kinds)]


def _describe_sources(
    config: DataConfig, spool: Spool, chosen: np.ndarray, hashes: list[dict[str, str]], shards: dict[int, Shards]
) -> list[dict[str, Any]]:
    n_chars, source = np.array(spool.n_chars, dtype=np.int64)[chosen], np.array(spool.source)[chosen]
    content = np.array(spool.content)[chosen]
    described = []
    for number, name in enumerate(_source_names(config)):
        mine = int(n_chars[source == number].sum())
        described.append(
            {
                "name": name,
                "kind": config.sources[number].kind,
                **asdict(source_credit(config.sources[number])),
                "n_chars": mine,
                "share": round(mine / int(n_chars.sum()), 6),
                "n_documents": int((source == number).sum()),
                "content": dict(zip(CONTENTS, np.bincount(content[source == number], minlength=3).tolist())),
                "files": hashes[number],
                **(shards[number].facts if number in shards else {}),
            }
        )
    return described


def _find(config: DataConfig, out: Path, hashes: list[dict[str, str]]) -> Prepared:
    """The directory at `out`, if it comes from the same config and the same files."""
    facts = read_data_manifest(out)
    changes = differences(_by_source(facts.get("config", {})), _by_source(config.model_dump(mode="json")))
    said = [f"key '{key}' was {old!r} and is now {new!r}" for key, (old, new) in changes.items()]
    if not said:
        said = [
            line
            for source, old, new in zip(config.sources, facts["sources"], hashes)
            for line in (_changed_folder(source, old) if source.kind == "hub" else _changed_files(old["files"], new))
        ]
    if not said and config.tokenizer and not config.tokenizer.startswith(HUB):
        changed = sha256_file(tokenizer_file(config)[0]) != facts["tokenizer"]["sha256"]
        said = [f"the tokenizer {config.tokenizer} has changed"] if changed else []
    if said:
        raise BadInput(f"{out}: was prepared otherwise: {said[0]}; choose another --out or remove it")
    verify(out)
    return Prepared(out, True, facts, read_json(out / RECORD, _MAX_RECORD_BYTES) if RECORD in facts["files"] else {})


def _by_source(config: dict[str, Any]) -> dict[str, Any]:
    """A dumped config with a key for each source, so that a difference names the source."""
    sources = {f"sources[{index}]": source for index, source in enumerate(config.get("sources", []))}
    return {key: value for key, value in config.items() if key != "sources"} | sources


def _changed_files(old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    for name, (before, now) in differences(old, new).items():
        what = "is new" if before is None else "is gone" if now is None else "has changed"
        yield f"source file {name} {what}"


def _changed_folder(source: SourceConfig, old: dict[str, Any]) -> Iterator[str]:
    """A hub source is a commit, which does not change; a folder that is gone does no harm."""
    folder = Path(str(source.dataset))
    if folder.is_dir() and folder_hash(folder) != old["revision"]:
        yield f"the folder {folder} has changed"
