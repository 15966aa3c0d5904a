"""Tokenizers that others made: a tokenizer.json by path or from the hub, made to fit prepared data.

In prepared data id 0 is BOS. Where a tokenizer gives another id to its BOS, the two ids are exchanged in the copy that
lies beside the tokens; nothing else about it changes. What it would add around a text (templates, padding, truncation)
is left out: rows and separators are ours.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train import tl_files
from train.data.config import DataConfig
from train.data.tokenizer import BOS, BOS_ID
from train.errors import BadInput, one_line
from train.files import read_json
from train.gguf import gguf_file, tokenizer_of
from train.hashes import sha256_file
from train.hub_errors import hub_errors
from train.textfiles import with_home

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HUB = "hf:"
FILE = "tokenizer.json"
KNOWN = (BOS, "<|BOS|>", "<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>", "[CLS]")
"""Names under which tokenizers have a BOS, in the order in which they are taken."""
MAX_CONFIG_BYTES = 2**24
_NEVER = -1e9
"""Score of a Unigram piece that no text becomes."""


@dataclass(frozen=True)
class ReadyMade:
    """A tokenizer whose BOS is id 0, and where it comes from."""

    tokenizer: "Tokenizer"
    facts: dict[str, Any]


def tokenizer_file(config: DataConfig) -> tuple[Path, str | None]:
    """The file that `config.tokenizer` names, and its commit where it comes from the hub. `tl:NAME`: that of a model.

    Raises:
        BadInput: no such file, name or revision.
        EnvironmentProblem: the hub cannot be reached and the file is not in its cache.
    """
    name = str(config.tokenizer)
    if name.startswith(tl_files.PREFIX):
        return tl_files.legacy_files(name.removeprefix(tl_files.PREFIX)).tokenizer, None
    if not name.startswith(HUB):
        path = Path(with_home(name))
        if not (path / FILE).is_file() and (model := gguf_file(path)) is not None:
            return tokenizer_of(model), None
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise BadInput(f"tokenizer: {path}: no such file; write {HUB}{name} for a name on the hub")
        return path, None
    from huggingface_hub import hf_hub_download

    repository = name.removeprefix(HUB)
    with hub_errors(
        "tokenizer",
        repository,
        config.tokenizer_revision,
        key="tokenizer_revision",
        then=f"its {FILE} is not in the cache",
    ):
        path = Path(hf_hub_download(repository, FILE, revision=config.tokenizer_revision))
    return path, path.parent.name


def ready_made(config: DataConfig) -> ReadyMade:
    """The tokenizer that `config.tokenizer` names, with its BOS as id 0 and digits as the config says.

    Raises:
        BadInput: not a tokenizer, no BOS, ids with gaps, another size than `d_vocab` asks for; see `tokenizer_file`.
    """
    path, commit = tokenizer_file(config)
    size = config.d_vocab if "d_vocab" in config.model_fields_set else None
    ready = fitted(path, bos=config.bos, digits=config.digits, size=size, padded_to=_padding(config, path))
    return ReadyMade(ready.tokenizer, {"name": config.tokenizer, "revision": commit, **ready.facts})


def _padding(config: DataConfig, path: Path) -> int | None:
    """The vocabulary of the model that a tokenizer belongs to, where it is one in TransformerLens' legacy format."""
    name = str(config.tokenizer)
    if name.startswith(tl_files.PREFIX):
        files = tl_files.legacy_files(name.removeprefix(tl_files.PREFIX))
    elif not name.startswith(HUB) and tl_files.is_legacy(path.parent):
        files = tl_files.legacy_files(str(path.parent))
    else:
        return None
    size = files.values().get("d_vocab")
    return size if isinstance(size, int) else None


def fitted(
    path: Path, *, bos: str | None = None, digits: str = "auto", size: int | None = None, padded_to: int | None = None
) -> ReadyMade:
    """The tokenizer in a file, with its BOS as id 0.

    Args:
        bos: its BOS; None: one of a known name; "add": one that is added.
        digits: "split" makes every digit a token.
        size: how many ids it must have.
        padded_to: how many ids the model has; where the tokenizer has fewer, ids that no text becomes fill the rest.

    Raises:
        BadInput: not a tokenizer, no BOS, ids with gaps, another size.
    """
    tokenizer = _opened(path)
    bos = _bos(tokenizer, bos, path)
    tokenizer.add_special_tokens([bos])
    n_own = tokenizer.get_vocab_size()
    if padded_to is not None and n_own < padded_to:
        tokenizer.add_special_tokens([f"<|unused-{index}|>" for index in range(n_own, padded_to)])
    ids = tokenizer.get_vocab(with_added_tokens=True)
    n_ids = len(ids)
    if sorted(ids.values()) != list(range(n_ids)):
        raise BadInput(f"tokenizer: {path}: ids up to {max(ids.values())} for {n_ids} tokens: ids must have no gaps")
    if padded_to is not None and n_ids > padded_to:
        raise BadInput(f"tokenizer: {path}: {n_ids:,} ids with its BOS, the model has {padded_to:,}: not its tokenizer")
    if size is not None and size != n_ids:
        what = "has ids beyond the vocabulary" if size < n_ids else "has fewer ids"
        raise BadInput(f"d_vocab: {path} {what}: {n_ids} with its BOS, not {size}; leave d_vocab out")
    said = json.loads(tokenizer.to_str())
    _exchange(said, {**ids}, bos, ids[bos])
    if digits == "split":
        _split_digits(said, path)
    try:
        own = _with_switch(json.dumps(said))
    except Exception as failure:  # the library raises bare Exception
        raise BadInput(f"tokenizer: {path}: cannot be made to fit ({one_line(str(failure), 200)})") from None
    if own.token_to_id(bos) != BOS_ID or own.get_vocab_size() != n_ids or BOS_ID in own.encode(bos).ids:
        raise BadInput(f"tokenizer: {path}: text that spells {bos!r} would become a BOS; set bos to another token")
    facts = {"sha256": sha256_file(path), "bos": bos, "exchanged": [BOS_ID, ids[bos]], "digits": digits}
    return ReadyMade(own, facts | {"normalizes": said["normalizer"] is not None})


def _opened(path: Path) -> "Tokenizer":
    try:
        return _with_switch(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise BadInput(f"tokenizer: {path}: cannot be read ({failure.strerror})") from None
    except Exception as failure:  # the library raises bare Exception
        raise BadInput(f"tokenizer: {path}: not a tokenizer ({one_line(str(failure), 200)})") from None


def _with_switch(text: str) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _bos(tokenizer: "Tokenizer", wanted: str | None, path: Path) -> str:
    if wanted == "add":
        return BOS
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    if wanted is not None:
        if tokenizer.token_to_id(wanted) is None:
            raise BadInput(f"bos: {path} has no token {wanted!r}{_choices(special)}")
        return wanted
    found = next((name for name in KNOWN if name in special), None) or _said_beside(path)
    if found is None or tokenizer.token_to_id(found) is None:
        raise BadInput(f"bos: {path} has no BOS of a known name{_choices(special)}")
    return found


def _said_beside(path: Path) -> str | None:
    """The BOS that a tokenizer_config.json beside the tokenizer names."""
    beside = path.with_name(tl_files.TOKENIZER_CONFIG)
    said = read_json(beside, MAX_CONFIG_BYTES) if beside.is_file() else {}
    token = said.get("bos_token") if isinstance(said, dict) else None
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _choices(special: list[str]) -> str:
    of_these = f"one of its special tokens ({', '.join(map(repr, special[:6]))}), or " if special else ""
    return f'; set bos to {of_these}"add", which adds {BOS}'


def _exchange(said: dict[str, Any], ids: dict[str, int], bos: str, before: int) -> None:
    """Give `bos` id 0 and its id to what had 0. Every token joins the model's own table, which alone keeps ids."""
    first = next(token for token, index in ids.items() if index == BOS_ID)
    ids[first], ids[bos] = before, BOS_ID
    model = said["model"]
    if isinstance(model["vocab"], list):
        scores = dict(model["vocab"])
        unknown = None if model.get("unk_id") is None else model["vocab"][model["unk_id"]][0]
        in_order = sorted(ids, key=ids.__getitem__)
        model["vocab"] = [[token, _NEVER if token == bos else scores.get(token, _NEVER)] for token in in_order]
        model["unk_id"] = None if unknown is None else ids[unknown]
    else:
        model["vocab"] = ids
    for token in said["added_tokens"]:
        token["id"] = ids[token["content"]]
    said["added_tokens"].sort(key=lambda token: token["id"])
    said |= {"post_processor": None, "truncation": None, "padding": None}


def _split_digits(said: dict[str, Any], path: Path) -> None:
    before = said["pre_tokenizer"]
    parts = [] if before is None else before["pretokenizers"] if before["type"] == "Sequence" else [before]
    if any(part.get("add_prefix_space") or part["type"] == "Metaspace" for part in parts):
        raise BadInput(
            f'digits: {path} puts a blank before every piece, so that digits cannot be split; digits = "keep"'
        )
    digits = {"type": "Digits", "individual_digits": True}
    said["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, *parts]}
