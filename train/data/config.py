"""The shape of a DATA.toml: sources, and how their text becomes tokens."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from train.section import MAX_COUNT, Grown, Several, UserPath
from train.textfiles import check_encoding


class SourceConfig(Grown):
    """One part of a corpus. `wiki` and `python` make the embedded default; `files` and `hub` are the user's own."""

    later: ClassVar[frozenset[str]] = frozenset({"dataset", "subset", "split", "revision", "stream", "max_documents"})

    kind: Literal["wiki", "python", "files", "hub", "brown"]
    weight: float = Field(gt=0, le=1e9)
    """Share of the corpus' characters, relative to the other sources' weights."""
    paths: Several[str] = ()
    """`files`: .txt, .jsonl, .csv and .parquet paths, globs or folders, relative to the working directory; .gz and .zst
    of .txt, .jsonl and .csv too; "package:NAME/FILE" is a file of an installed package. `brown`: the folder of the
    unpacked corpus."""
    field: str = "text"
    """`files`, `hub`: the key or column that holds the text; "meta.text" is the key text within meta."""
    packages: Several[str] = ("networkx", "sympy")
    """`python`: installed distributions whose .py files are read (tests left out)."""
    content: Literal["auto", "code", "prose"] = "auto"
    """What the documents are, which decides how brackets, quotes and sentences are read. `auto`: Wikipedia is prose,
    Python packages are code; a file's ending or the language of a .jsonl line decides, else the text itself."""
    language_field: str | None = None
    """`files`, `hub`: the key that names a text's language ("python", "markdown", "en"), for `content`."""
    encoding: str = "utf-8"
    """`files`: of texts that do not begin with a byte order mark, by Python's names ("utf-16-le", "cp1252")."""

    dataset: UserPath | None = None
    """`hub`: the name of a data set ("allenai/c4"), or a folder that the `datasets` library opens."""
    subset: str | None = None
    """`hub`: what `datasets` calls the name of a configuration ("en")."""
    split: str = "train"
    """`hub`: the split to read."""
    revision: str | None = None
    """`hub`: a commit, tag or branch of the data set; the commit that was read is recorded."""
    stream: bool = True
    """`hub`: read as it arrives. Otherwise the whole data set is downloaded first."""
    max_documents: int | None = Field(default=None, ge=1, le=MAX_COUNT)
    """`hub`: read no further than so many documents."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        return check_encoding(name)

    @model_validator(mode="after")
    def _files_need_paths(self) -> "SourceConfig":
        if (self.kind in ("files", "brown")) != bool(self.paths):
            raise ValueError("paths: needed by kind = 'files' and kind = 'brown', and by no other kind")
        if self.kind == "brown" and len(self.paths) != 1:
            raise ValueError("paths: kind = 'brown' reads one folder")
        if (self.kind == "hub") != bool(self.dataset):
            raise ValueError("dataset: needed by kind = 'hub', and by no other kind")
        for key in ("subset", "split", "revision", "stream", "max_documents"):
            if self.kind != "hub" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: only kind = 'hub' reads it")
        return self


class DataConfig(Grown):
    """A DATA.toml: where text comes from and how it becomes tokens."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"tokenizer", "tokenizer_revision", "bos", "digits", "tokens", "order", "unusable"}
    )

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sources: Several[SourceConfig] = Field(min_length=1)
    d_vocab: int = Field(default=4096, ge=258, le=2**20)
    """Size of the byte-level BPE vocabulary, BOS included (256 bytes + BOS + merges)."""
    min_frequency: int = Field(default=2, ge=1, le=MAX_COUNT)
    """Pairs of tokens seen less often in the training text are not merged into words."""
    n_ctx: int = Field(default=256, ge=2, le=2**24)
    """Tokens a row that a model reads; a row holds one more, the last target."""
    eval_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of documents (by hash of their text) held out for evaluation and scoring."""
    allow_more_held_out: bool = False
    """Take held-out text that is larger than the training text."""
    order: Literal["auto", "hash", "shares"] = "auto"
    """How the documents of several sources lie. `shares`: every beginning of the stream holds the sources at their
    weights. `hash`: by a hash of their text, so that a source that gives but a part of its text lies in front, as data
    prepared before this key do. `auto`: shares where `tokens` is given, else hash."""
    unusable: Literal["refuse", "skip"] = "refuse"
    """`files`: what becomes of a line of JSON, or a row of CSV, whose text cannot be used: stop and name its place, or
    count it by reason and go on."""
    invalid_utf8: Literal["strict", "replace"] = "strict"
    drop_duplicates: bool = True
    tokens: int | None = Field(default=None, gt=0, le=MAX_COUNT)
    """Stop with the document with which there are so many training tokens; the mixture stays what weights say."""
    tokenizer: str | None = None
    """A tokenizer.json, or a folder with one, or "hf:NAME" for one of the hub. Default: one fitted on this text."""
    tokenizer_revision: str | None = None
    """Commit, tag or branch of a tokenizer of the hub."""
    bos: str | None = None
    """The token of `tokenizer` that begins rows and parts documents; "add" adds one. Default: one of a known name."""
    digits: Literal["auto", "split", "keep"] = "auto"
    """Whether every digit is a token. `auto`: split in a tokenizer that is fitted here, as it is in any other."""

    @model_validator(mode="after")
    def _keys_of_tokenizers(self) -> "DataConfig":
        for key in ("tokenizer_revision", "bos"):
            if getattr(self, key) is not None and self.tokenizer is None:
                raise ValueError(f"{key}: only a config with `tokenizer` reads it")
        if self.tokenizer_revision is not None and not str(self.tokenizer).startswith("hf:"):
            raise ValueError("tokenizer_revision: only a tokenizer of the hub (hf:NAME) has revisions")
        return self

    def _unsaid(self) -> frozenset[str]:
        # The tokenizer's own size, unless the config insists on one.
        said = self.tokenizer is None or "d_vocab" in self.model_fields_set
        return frozenset() if said else frozenset({"d_vocab"})
