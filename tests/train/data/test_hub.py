"""Data sets through `datasets`: shards are the same however often reading stopped, and bad input is one line."""

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from train.configfile import load_config
from train.data import hub
from train.data.config import DataConfig, SourceConfig
from train.data.hub import read_shards
from train.data.prepare import prepare
from train.data.tables import shard_documents
from train.data.tokens import TokenFile
from train.errors import BadInput, Damaged, EnvironmentProblem

N = 3000


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.getbasetemp() / "hf-cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set as the hub holds them: three Parquet files, text within a struct."""
    place = tmp_path / "stories"
    place.mkdir()
    for file in range(3):
        rows = range(file * N // 3, (file + 1) * N // 3)
        meta = [{"text": f"Story {i}: the {i % 7} cats sat on {i * i} mats.", "lang": "en"} for i in rows]
        meta[5]["text"] = None  # pyright: ignore[reportArgumentType]
        table = pa.table({"meta": meta, "n": list(rows)})
        pq.write_table(table, place / f"train-{file:05}-of-00003.parquet", row_group_size=170)
    return place


def source(folder: Path, **keys: Any) -> SourceConfig:
    return SourceConfig(
        **({"kind": "hub", "weight": 1.0, "dataset": str(folder), "field": "meta.text"} | keys)  # pyright: ignore[reportArgumentType]
    )


def hashes(shards: hub.Shards) -> list[str]:
    return [shard["sha256"] for shard in shards.index["shards"]]


def texts(shards: hub.Shards) -> list[str]:
    return [document.text for path in shards.files.values() for document in shard_documents(path)]


@pytest.mark.parametrize("stream", [True, False])
def test_every_row_lies_in_a_shard_in_order_and_what_is_null_is_counted(
    folder: Path, tmp_path: Path, stream: bool
) -> None:
    shards = read_shards(source(folder, stream=stream), tmp_path / "out", shard_chars=20_000)
    numbers = [int(text.split(":")[0].removeprefix("Story ")) for text in texts(shards)]
    assert numbers == [i for i in range(N) if i not in (5, 1005, 2005)]
    assert len(shards.index["shards"]) > 4
    assert shards.index["counts"]["n_null"] == 3
    assert shards.facts == {"revision": hub.folder_hash(folder), "rows_read": N}
    assert shards.index["n_documents"] == sum(shard["n_documents"] for shard in shards.index["shards"]) == N - 3


@pytest.mark.parametrize("stream", [True, False])
def test_a_stream_that_broke_off_goes_on_to_the_same_shards(
    folder: Path, tmp_path: Path, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_shards(source(folder, stream=stream), tmp_path / "whole", shard_chars=20_000)
    real, left = hub._batches, 6

    def breaking(*given: Any) -> Any:
        batches, state = real(*given)

        def some() -> Iterator[pa.Table]:
            for number, batch in enumerate(batches):
                if number == left:
                    raise ConnectionError("connection reset")
                yield batch

        return some(), state

    monkeypatch.setattr(hub, "_batches", breaking)
    with pytest.raises(BadInput, match=r"reading broke off \(ConnectionError.*in [1-9] shards is kept"):
        read_shards(source(folder, stream=stream), tmp_path / "broken", shard_chars=20_000)
    (directory,) = (tmp_path / "broken").glob("stories-*")
    (directory / "000099.parquet").write_bytes(b"of a process that was killed")
    left = 5
    with pytest.raises(BadInput, match="reading broke off"):
        read_shards(source(folder, stream=stream), tmp_path / "broken", shard_chars=20_000)
    monkeypatch.setattr(hub, "_batches", real)
    resumed = read_shards(source(folder, stream=stream), tmp_path / "broken", shard_chars=20_000)
    assert hashes(resumed) == hashes(whole)
    assert {path.name for path in directory.iterdir()} == {*resumed.files, "index.json", ".lock"}
    assert resumed.index["counts"] == whole.index["counts"]


def test_whole_shards_are_found_and_never_read_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_shards(source(folder), tmp_path / "out")
    monkeypatch.setattr(hub, "_open", lambda *_: pytest.fail("read again"))
    assert hashes(read_shards(source(folder), tmp_path / "out")) == hashes(first)


def test_limits_cut_at_the_exact_document(folder: Path, tmp_path: Path) -> None:
    shards = read_shards(source(folder, max_documents=700), tmp_path / "out")
    assert (shards.index["rows_read"], len(texts(shards))) == (700, 699)
    every = texts(read_shards(source(folder), tmp_path / "out"))
    shards = read_shards(source(folder), tmp_path / "out", most_chars=len("".join(every[:900])))
    assert texts(shards) == every[:900]


def test_a_shard_that_was_changed_or_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    shards = read_shards(source(folder), tmp_path / "out", shard_chars=20_000)
    path = list(shards.files.values())[1]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(Damaged, match=r"000001\.parquet: this shard does not match its hash; remove"):
        read_shards(source(folder), tmp_path / "out", shard_chars=20_000)
    path.unlink()
    with pytest.raises(Damaged, match=r"000001\.parquet: this shard is missing"):
        read_shards(source(folder), tmp_path / "out", shard_chars=20_000)


def test_a_folder_that_changed_since_is_refused(folder: Path, tmp_path: Path) -> None:
    read_shards(source(folder), tmp_path / "out")
    pq.write_table(
        pa.table({"meta": [{"text": "new", "lang": "en"}], "n": [1]}), folder / "train-00001-of-00003.parquet"
    )
    with pytest.raises(BadInput, match="stories: has changed since it was read; remove"):
        read_shards(source(folder), tmp_path / "out")


def test_a_wrong_subset_split_column_revision_or_folder_is_one_line(folder: Path, tmp_path: Path) -> None:
    for keys, said in (
        ({"subset": "fr"}, r"sources: subset: .*'fr' not found\. Available: \['default'\]"),
        ({"split": "tset"}, r"sources: split: .*Bad split: tset\. Available splits: \['train'\]"),
        ({"field": "text"}, r"column 'text' is missing; .*there are 'meta\.text', 'meta\.lang'"),
        ({"revision": "main"}, r"sources: revision: .*is a folder, which has no revisions"),
        ({"field": "n"}, "column 'n' holds int64 where text is needed"),
    ):
        with pytest.raises(BadInput, match=said):
            read_shards(source(folder, **keys), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"nothing that `datasets` reads|reading broke off"):
        read_shards(source(tmp_path / "empty"), tmp_path / "out")
    with pytest.raises(BadInput, match="is neither a file or folder that is there nor a name on a hub"):
        read_shards(source(tmp_path / "not" / "there"), tmp_path / "out")


def test_a_hub_that_cannot_be_reached_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    with pytest.raises(EnvironmentProblem, match=r"the hub cannot be reached for 'allenai/c4'.*Name or service"):
        read_shards(source(Path("allenai/c4")), tmp_path / "out")


def test_json_lines_of_the_hub_are_packed_and_prepare_mixes_them_with_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    lines = [json.dumps({"text": f"Page {i} says {i * 7} things about {i % 5} dogs."}) for i in range(800)]
    (tmp_path / "web" / "train.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "data.toml").write_text(
        'name = "mix"\nd_vocab = 300\nn_ctx = 16\n'
        f'[[sources]]\nkind = "hub"\nweight = 0.8\ndataset = "{tmp_path}/web"\n'
        f'[[sources]]\nkind = "hub"\nweight = 0.2\ndataset = "{folder}"\nfield = "meta.text"\n'
        'language_field = "meta.lang"\n'
    )
    config = load_config(DataConfig, tmp_path / "data.toml")
    made = prepare(config, tmp_path / "out")
    assert load_config(DataConfig, made.directory / "data.toml") == config
    first, second = made.facts["sources"]
    assert (first["name"], first["kind"], second["content"]["prose"]) == ("hub-1", "hub", second["n_documents"])
    assert first["share"] == pytest.approx(0.8, abs=0.01)
    assert second["revision"] == hub.folder_hash(folder)
    assert made.record["n_null"] == 3
    assert prepare(config, tmp_path / "out").found
    assert TokenFile.open(made.directory).n_rows > 100
    (tmp_path / "web" / "train.jsonl.gz").write_bytes(gzip.compress(b'{"text": "other"}'))
    with pytest.raises(BadInput, match=r"was prepared otherwise: the folder .*web has changed"):
        prepare(config, tmp_path / "out")


def test_keys_of_the_hub_are_refused_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split: only kind = 'hub' reads it"):
        SourceConfig(kind="files", weight=1, paths=("a.txt",), split="test")
    with pytest.raises(ValueError, match="dataset: needed by kind = 'hub'"):
        SourceConfig(kind="hub", weight=1)


@pytest.mark.parametrize("path", sorted(Path("configs/data").glob("*.toml")), ids=lambda path: path.stem)
def test_every_ready_config_reads_and_is_named_as_its_file(path: Path) -> None:
    config = load_config(DataConfig, path)
    assert path.stem.removesuffix("-example") in (config.name, "files", "hub")


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_with(folder: Path, tmp_path: Path) -> None:
    whole = read_shards(source(folder), tmp_path / "whole", shard_chars=10_000)
    program = (
        "import time, sys; from pathlib import Path\n"
        "from train.data.config import SourceConfig; from train.data import hub\n"
        "real = hub._batches\n"
        "def slow(*given):\n"
        "    batches, state = real(*given)\n"
        "    return ((time.sleep(0.05), each)[1] for each in batches), state\n"
        "hub._batches = slow\n"
        "source = SourceConfig(kind='hub', weight=1, dataset=sys.argv[1], field='meta.text')\n"
        "hub.read_shards(source, Path(sys.argv[2]), shard_chars=10_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(folder), str(tmp_path / "killed")])
    while process.poll() is None and len(list((tmp_path / "killed").glob("*/*.parquet"))) < 3:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    (index,) = (tmp_path / "killed").glob("*/index.json")
    assert not json.loads(index.read_text())["done"]
    assert hashes(read_shards(source(folder), tmp_path / "killed", shard_chars=10_000)) == hashes(whole)


def test_what_is_cached_of_the_hub_works_without_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole data set in the cache of `datasets`, put there under the name that it would have on the hub."""
    import datasets
    import datasets.config

    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))
    (made,) = cache.glob("stories/default/0.0.0/*/dataset_info.json")
    place = cache / "user___stories" / "default" / "0.0.0" / ("c" * 40)
    place.parent.mkdir(parents=True)
    made.parent.rename(place)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cached = source(Path("user/stories"), stream=False)
    shards = read_shards(cached, tmp_path / "out")
    assert (len(texts(shards)), shards.facts) == (N - 3, {"revision": None, "rows_read": N})
    assert hashes(read_shards(cached, tmp_path / "out")) == hashes(shards)
    with pytest.raises(EnvironmentProblem, match="stream = false what is cached still works"):
        read_shards(source(Path("user/stories")), tmp_path / "out")
    with pytest.raises(EnvironmentProblem, match="user/other: reading broke off"):
        read_shards(source(Path("user/other"), stream=False), tmp_path / "out")
