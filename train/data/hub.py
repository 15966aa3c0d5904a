"""Data sets of the hub, or folders that `datasets` opens: read once, as they arrive, into shards of our own.

The order of documents, and where a broken stream goes on, are then ours: shards are the same bytes however often
reading was interrupted.
"""

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from train.data.config import SourceConfig
from train.data.document import LIMITS, Limits
from train.data.tables import ROWS, texts
from train.errors import BadInput, Damaged, EnvironmentProblem, PolysemError, one_line
from train.files import LOCK, MAX_MANIFEST_BYTES, canonical_json, discard, locked, read_json, write_atomic
from train.hashes import known_sha256, sha256, sha256_file
from train.hub_errors import hub_errors
from train.textfiles import Decoder

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_CHARS = 2**26
"""A shard ends with the rows with which it has so many characters; so much is read again after an interruption."""
INDEX = "index.json"
_VERSION = 1
_CAUSES = {"subset": ("BuilderConfig", "Config name is missing"), "split": ("Bad split", "Unknown split")}
"""The keys that are wrong where `datasets` begins its message so."""


@dataclass
class Shards:
    """The shards of a source: their directory, and what its index says of them."""

    directory: Path
    index: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """Names that do not depend on the machine -> the shards, in order."""
        return {shard["name"]: self.directory / shard["name"] for shard in self.index["shards"]}

    @property
    def facts(self) -> dict[str, Any]:
        """What a manifest says of the source."""
        return {key: self.index[key] for key in ("revision", "rows_read")}

    def count_into(self, decoder: Decoder) -> None:
        """Add what reading the stream left out, replaced or met."""
        counts = self.index["counts"]
        decoder.n_null += counts["n_null"]
        decoder.n_nul += counts["n_nul"]
        decoder.n_replaced += counts["n_replaced"]
        decoder.first_nul = decoder.first_nul or counts["first_nul"]
        for reason, count in counts["left_out"].items():
            decoder.leave_out(reason, count)

    def check(self) -> None:
        """Compare every shard with its hash; a process hashes a file once.

        Raises:
            Damaged: a shard is missing or another one.
        """
        for shard in self.index["shards"]:
            path = self.directory / shard["name"]
            if not path.is_file():
                raise Damaged(f"{path}: this shard is missing; remove {self.directory} and prepare again")
            if known_sha256(path) != shard["sha256"]:
                raise Damaged(f"{path}: this shard does not match its hash; remove {self.directory} and prepare again")


def read_shards(
    source: SourceConfig,
    root: Path,
    most_chars: int | None = None,
    replace: bool = False,
    limits: Limits = LIMITS,
    shard_chars: int = SHARD_CHARS,
    progress: bool = False,
) -> Shards:
    """The shards of a hub source below `root`; what is missing is read. Whole ones need no network.

    Args:
        most_chars: stop with the document with which there are so many characters.
        replace: write U+FFFD for invalid UTF-8; otherwise such documents are counted and left out.

    Raises:
        BadInput: no such data set, subset, split, revision or column; a folder that has changed since.
        Damaged: a shard that does not match its hash.
        EnvironmentProblem: the hub cannot be reached, or the stream broke off (the same command goes on from there).
    """
    assert source.dataset is not None
    is_folder = os.path.isdir(source.dataset)
    if is_folder and source.revision:
        raise BadInput(f"sources: revision: {source.dataset} is a folder, which has no revisions; leave it out")
    wanted = {
        "dataset": os.path.abspath(source.dataset) if is_folder else source.dataset,
        **{key: getattr(source, key) for key in ("subset", "split", "revision", "field", "language_field", "stream")},
        "max_documents": source.max_documents,
        "most_chars": most_chars,
        "replace": replace,
        "shard_chars": shard_chars,
        "version": _VERSION,
    }
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", os.path.basename(source.dataset.rstrip("/"))).strip("-.")[:60]
    directory = root / f"{slug or 'data'}-{sha256(canonical_json(wanted))[:12]}"
    with locked(directory):
        shards = Shards(directory)
        if (directory / INDEX).is_file():
            shards.index = read_json(directory / INDEX, MAX_MANIFEST_BYTES)
            shards.check()
            if is_folder and shards.index["revision"] != folder_hash(Path(source.dataset)):
                raise BadInput(f"{source.dataset}: has changed since it was read; remove {directory} and prepare again")
        if not shards.index.get("done"):
            _Reading(source, shards, most_chars, replace, limits, shard_chars).run(is_folder, progress)
    return shards


def folder_hash(folder: Path) -> str:
    """A hash of the names and contents of a folder's files; what stands for the revision of a local data set."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        digest.update(
            f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\n".encode("utf-8", "surrogateescape")
        )
    return f"sha256:{digest.hexdigest()}"


@dataclass
class _Reading:
    source: SourceConfig
    shards: Shards
    most_chars: int | None
    replace: bool
    limits: Limits
    shard_chars: int

    def run(self, is_folder: bool, progress: bool) -> None:
        """Read from where the index says to the end or the limit, a shard at a time."""
        name, index = str(self.source.dataset), self.shards.index
        if not index:
            index |= {"revision": None, "rows_read": 0, "n_chars": 0, "n_documents": 0, "shards": []}
            index |= {"counts": None, "state": None, "done": False}
        if index["revision"] is None:
            index["revision"] = folder_hash(Path(name)) if is_folder else _commit(self.source)
        rows = index["rows_read"]
        for path in self.shards.directory.iterdir():
            if path.name not in (*self.shards.files, INDEX, LOCK):
                discard(path)  # of a process that was killed

        def kept() -> str:
            return f"; what is in {len(index['shards'])} shards is kept, and the same command goes on from there"

        with _told(self.source, is_folder, kept):
            dataset = _open(self.source, None if is_folder else index["revision"])
            batches, state = _batches(dataset, self.source.stream, index["state"], rows)
            bar = tqdm(batches, f"reading {name}", unit=" batches", initial=rows // ROWS, disable=not progress)
            self._read(bar, state)

    def _read(self, batches: Iterable["pa.Table"], state: Callable[[], Any]) -> None:
        index = self.shards.index
        decoder = Decoder(replace=self.replace)
        if index["counts"]:
            Shards(self.shards.directory, index).count_into(decoder)
        columns: dict[str, list[Any]] = {"text": [], "title": [], "language": []}
        n_chars = 0
        title = f"{os.path.basename(str(self.source.dataset).rstrip('/'))}:{self.source.split}"
        most_rows = self.source.max_documents
        first_row, full = index["rows_read"], False
        for table in batches:
            if most_rows is not None and first_row + table.num_rows >= most_rows:
                table, full = table.slice(0, most_rows - first_row), True
            for row, text, language in texts(
                table, self.source.field, self.source.language_field, title, decoder, self.limits
            ):
                columns["text"].append(text)
                columns["title"].append(f"{title}:{first_row + row}")
                columns["language"].append(language)
                n_chars += len(text)
                if self.most_chars is not None and index["n_chars"] + n_chars >= self.most_chars:
                    table, full = table.slice(0, row + 1), True
                    break
            first_row += table.num_rows
            if full:
                break
            if n_chars >= self.shard_chars:
                self._write(columns, n_chars, first_row, decoder, state())
                columns, n_chars = {key: [] for key in columns}, 0
        self._write(columns, n_chars, first_row, decoder, None, done=True)

    def _write(
        self, columns: dict[str, list[Any]], n_chars: int, rows: int, decoder: Decoder, state: Any, done: bool = False
    ) -> None:
        """Write a shard, then the index that names it: what no index names is written again."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        index = self.shards.index
        if columns["text"]:
            name = f"{len(index['shards']):06d}.parquet"
            table = pa.table({key: pa.array(values, pa.large_string()) for key, values in columns.items()})
            buffer = pa.BufferOutputStream()
            pq.write_table(table, buffer, compression="zstd", row_group_size=8 * ROWS)
            data = buffer.getvalue().to_pybytes()
            write_atomic(self.shards.directory / name, data)
            shard = {"name": name, "bytes": len(data), "sha256": sha256(data), "n_chars": n_chars}
            index["shards"].append(shard | {"n_documents": table.num_rows})
        index["n_chars"] += n_chars
        index["n_documents"] += len(columns["text"])
        index["counts"] = {key: getattr(decoder, key) for key in ("n_null", "n_nul", "first_nul", "n_replaced")}
        index["counts"]["left_out"] = dict(decoder.left_out)
        index |= {"rows_read": rows, "state": state, "done": done}
        write_atomic(self.shards.directory / INDEX, canonical_json(index))


def _batches(dataset: Any, stream: bool, state: Any, rows: int) -> tuple[Iterator["pa.Table"], Callable[[], Any]]:
    """Arrow tables from row `rows` on, and what gives the state after the last one."""
    dataset = dataset.with_format("arrow")
    if not stream:
        return dataset.skip(rows).iter(batch_size=ROWS), lambda: None
    if state is not None:
        dataset.load_state_dict(state)
    return dataset.iter(batch_size=ROWS), dataset.state_dict


def _open(source: SourceConfig, revision: str | None) -> Any:
    import datasets

    return datasets.load_dataset(
        str(source.dataset), source.subset, split=source.split, revision=revision, streaming=source.stream
    )


def _commit(source: SourceConfig) -> str | None:
    """The commit that a revision names today; None where the hub cannot be asked and a cache may do."""
    from huggingface_hub import HfApi

    name = str(source.dataset)
    try:
        with hub_errors(
            "sources: dataset",
            name,
            source.revision,
            key="sources: revision",
            then=f"no folder {name} is here; with stream = false what is cached still works",
        ):
            return HfApi().dataset_info(name, revision=source.revision, timeout=30).sha
    except EnvironmentProblem:
        if source.stream:
            raise
        return None


@contextmanager
def _told(source: SourceConfig, is_folder: bool, kept: Callable[[], str]) -> Iterator[None]:
    """Turns whatever `datasets` and the network raise into one line."""
    name = source.dataset
    try:
        yield
    except PolysemError:
        raise
    except Exception as failure:
        said = one_line(str(failure), 300)
        if isinstance(failure, OSError) and failure.errno == errno.ENOSPC:
            raise EnvironmentProblem(f"{name}: the disk is full{kept()}") from None
        for key, words in _CAUSES.items():
            if said.startswith(words):
                raise BadInput(f"sources: {key}: {name}: {said}") from None
        if isinstance(failure, FileNotFoundError):
            raise BadInput(f"sources: dataset: {name}: nothing that `datasets` reads is there ({said})") from None
        problem = BadInput if is_folder else EnvironmentProblem
        raise problem(f"{name}: reading broke off ({type(failure).__name__}: {said}){kept()}") from None
