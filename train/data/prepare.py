"""From a DATA.toml to a sealed directory of tokens: read, mix, split, fit the tokenizer, pack."""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from train.configfile import differences, load_config, to_toml
from train.data.config import DataConfig, SourceConfig
from train.data.content import CONTENTS
from train.data.corpora import LIMITS, Decoder, Limits, content_of, read_documents, source_credit, source_files
from train.data.hub import Shards, folder_hash, read_shards
from train.data.mixture import mixture, source_ends
from train.data.notes import notes, vocabulary_facts, warnings
from train.data.packing import pack
from train.data.readymade import HUB, ReadyMade, ready_made, tokenizer_file
from train.data.shards import SPLITS, shard_names
from train.data.spool import Spool
from train.data.text_places import spells_text, write_text
from train.data.tokens import FORMAT_VERSION, SHARDED_VERSION, read_data_manifest
from train.data.unfinished import unfinished
from train.errors import BadInput
from train.files import RECORD, publishing, read_json, verify
from train.filesystem import require_space
from train.hashes import known_sha256, sha256, sha256_file
from train.parquet import write_parquet
from train.workers import checked_jobs

SHARDS = "shards"
"""Beside prepared data: what was read of the hub."""

CHARS_A_TOKEN = 6
"""More than prose and code have in vocabularies of up to 100,000; shorter tokens only leave text over."""

_MAX_RECORD_BYTES = 2**20
_COUNTS = ("n_nul", "first_nul", "n_null")
_UNFINISHED_VERSION = 1
"""Of what reading and packing leave on the way: raise it where their results change."""


@dataclass(frozen=True)
class Prepared:
    """A data directory, whether it was there before, and what its manifest says."""

    directory: Path
    found: bool
    facts: dict[str, Any]
    record: dict[str, Any] = field(default_factory=dict)
    """How it went, which the data's hash leaves out; empty for data that older versions prepared."""
    n_resumed: int = 0
    """Shards of tokens that an earlier start, which was stopped, had finished."""

    def notes(self) -> list[str]:
        """What was left out, replaced or met, and how much of the vocabulary training sees."""
        resumed = [f"  {self.n_resumed:,} finished shards of an earlier start were taken"] if self.n_resumed else []
        return resumed + notes(self.facts, self.record)

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
    config: DataConfig | str | Path,
    out: str | Path,
    progress: bool | None = None,
    limits: Limits = LIMITS,
    jobs: int | None = None,
) -> Prepared:
    """Write the data directory of a config, or find it at `out`.

    Documents of all sources lie in the order of a hash of their text, so that any stretch of the stream is a fair
    sample. Another hash decides which documents are held out, so that no choice depends on another. After a kill the
    same call goes on with the shards of tokens that were not finished; the result is the same to the bit.

    Args:
        config: a config, or the path of a DATA.toml.
        progress: show a bar; default: only on a terminal.
        jobs: processes that encode; default: as many as there are cores that this process may use.

    Raises:
        BadInput: wrong text, too little text, or `out` holds something else (naming what differs).
        EnvironmentProblem: a package is missing, the disk is full.
    """
    config = config if isinstance(config, DataConfig) else load_config(DataConfig, config)
    out, jobs = Path(out), checked_jobs(jobs)
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
    with ExitStack() as stack:
        work = stack.enter_context(unfinished(out, _inputs(config, hashes, shards, ready, limits)))
        if out.exists():  # by a process that was quicker
            return _find(config, out, [_hashes(files) for files in local])

        def empty_spool(path: Path, handle: BinaryIO) -> Spool:
            stack.callback(handle.close)
            return Spool(path, handle, config.eval_share, config.drop_duplicates)

        spool, counts = work.read(empty_spool, lambda spool: _read(config, spool, files, shards, limits, show))
        chosen = mixture(spool, config, counts["left_out"])
        packed = pack(spool, chosen, config, ready, work, show, limits, _source_names(config), jobs)
        n_shards = len(packed.shards)
        names = {split: shard_names(split, n_shards) for split in SPLITS}
        placed = {name: (shard, split) for split in SPLITS for name, shard in zip(names[split], packed.shards)}
        token_files = {split: [shard.files[split] for shard in packed.shards] for split in SPLITS}
        left_out = {"left_out": dict(sorted(counts["left_out"].items()))} if counts["left_out"] else {}
        seen = {name: counts[name] for name in _COUNTS} | left_out
        ends = {"ends": source_ends(spool, packed.documents, _source_names(config))} if len(config.sources) > 1 else {}
        record = {**seen, **ends, "vocabulary": vocabulary_facts(token_files, packed.d_vocab)}
        facts = {
            "kind": "data",
            "format_version": FORMAT_VERSION if n_shards == 1 else SHARDED_VERSION,
            "config": config.model_dump(mode="json"),
            "n_ctx": config.n_ctx,
            "d_vocab": packed.d_vocab,
            "tokenizer_sha256": sha256(packed.tokenizer),
            "n_tokens": packed.n_tokens,
            "n_documents": packed.n_documents,
            "n_duplicates": spool.n_duplicates,
            "n_empty": spool.n_empty,
            "n_replaced": counts["n_replaced"],
            "sources": _describe_sources(config, spool, packed.documents, hashes, shards),
        }
        facts |= {} if ready is None else {"tokenizer": ready.facts}
        if n_shards > 1:
            facts["shards"] = {split: [shard.n_tokens[split] for shard in packed.shards] for split in SPLITS}
        known = {name: shard.hashes[split] for name, (shard, split) in placed.items()}
        adopted = {name: shard.files[split] for name, (shard, split) in placed.items()}
        with publishing(out, facts, known=known, adopted=adopted) as aside:
            (aside / "tokenizer.json").write_bytes(packed.tokenizer)
            write_parquet(packed.table, aside / "documents.parquet")
            if ready is not None and not spells_text(ready.tokenizer):
                write_text(spool, packed.documents, ready.tokenizer, aside)
            (aside / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
            (aside / "data.toml").write_text(to_toml(config), encoding="utf-8")
        return Prepared(out, False, read_data_manifest(out), record, work.n_found)


def _inputs(
    config: DataConfig, hashes: list[dict[str, str]], shards: dict[int, Shards], ready: ReadyMade | None, limits: Limits
) -> dict[str, Any]:
    """All that prepared data depend on, in JSON."""
    return {
        "version": _UNFINISHED_VERSION,
        "config": config.model_dump(mode="json"),
        "files": hashes,
        "hub": {str(number): each.index["shards"] for number, each in shards.items()},
        "tokenizer": None if ready is None else ready.facts,
        "limits": [limits.json_line_bytes, limits.shard_chars],
        "tokenizers": version("tokenizers"),
    }


def _read(
    config: DataConfig,
    spool: Spool,
    files: list[dict[str, Path]],
    shards: dict[int, Shards],
    limits: Limits,
    show: bool,
) -> dict[str, Any]:
    """Read all sources into the spool; what was left out, replaced or met."""
    decoder = Decoder(replace=config.invalid_utf8 == "replace", skip=config.unusable == "skip")
    for each in shards.values():
        each.count_into(decoder)
    for number, source in enumerate(config.sources):
        documents = read_documents(source, files[number], decoder, limits)
        for document in tqdm(documents, f"reading {source.kind}", unit=" documents", disable=not show):
            spool.add(number, document, content_of(document, source))
    return {name: getattr(decoder, name) for name in (*_COUNTS, "n_replaced", "left_out")}


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
