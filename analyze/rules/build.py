"""The grammar of one sample of tokens, built once and shared by every run that was scored on it."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.provenance import open_held_out
from analyze.activations.store import Activations, TokenSample
from analyze.rules.grammar import Grammar
from analyze.rules.views import View, context_view, document_view, token_views
from analyze.text.embeddings import BOS, token_embeddings
from analyze.text.spelling import spelled
from analyze.text.vocabulary import Vocabulary, context_states, looks_like_code
from train.data.tokens import TokenFile, load_tokenizer
from train.errors import BadInput


def build_views(
    *,
    vectors: Float[ndarray, "v d"],
    ids: Int[ndarray, "s"],
    starts: Int[ndarray, "documents"],
    lengths: Int[ndarray, "documents"],
    paths: list[str | None],
    vocabulary: Vocabulary,
    n_ctx: int,
) -> tuple[View, ...]:
    """Every view of the eval stream `ids`, whose documents are told by `starts` and `lengths`.

    `vectors` are embeddings of the tokens; `paths` are file names or titles, whose endings tell code from prose where
    they can.
    """
    previous = np.concatenate([[BOS], ids[:-1]])
    previous[::n_ctx] = BOS
    texts = (
        b"".join(vocabulary.pieces[token] for token in ids[start : start + length].tolist())
        for start, length in zip(starts, lengths)
    )
    code = [looks_like_code(text, path) for text, path in zip(texts, paths)]
    context = context_states(
        ids, starts=starts.tolist(), lengths=lengths.tolist(), code=code, vocabulary=vocabulary, n_ctx=n_ctx
    )
    return (
        *token_views(ids, previous, vocabulary, vectors, spelled(vocabulary.texts)),
        context_view(ids, context, vocabulary),
        document_view(ids, context.document, vocabulary, vectors),
    )


@lru_cache(maxsize=2)
def _views(directory: Path, data_hash: str, n_ctx: int) -> tuple[View, ...]:
    """The views of a data directory's eval split, in rows of `n_ctx` tokens."""
    data = open_held_out(directory, data_hash, n_ctx)
    documents = data.documents()
    return build_views(
        vectors=token_embeddings(directory, data_hash),
        ids=data.stream(0, data.n_tokens).astype(np.int64),
        starts=documents["start"].to_numpy(),
        lengths=documents["length"].to_numpy(),
        paths=documents["path_or_title"].to_list(),
        vocabulary=Vocabulary.of(load_tokenizer(directory / "tokenizer.json")),
        n_ctx=n_ctx,
    )


@dataclass(frozen=True)
class _SampleKey:
    """A token sample that is equal to another where its digest is."""

    digest: str
    sample: TokenSample = field(compare=False)

    @classmethod
    def of(cls, sample: TokenSample) -> "_SampleKey":
        hashed = hashlib.sha256(np.asarray(sample.stream_position, dtype=np.int64).tobytes())
        hashed.update(np.asarray(sample.is_fit, dtype=np.bool_).tobytes())
        hashed.update(np.asarray(sample.ids, dtype=np.int64).tobytes())
        return cls(hashed.hexdigest(), sample)


@lru_cache(maxsize=2)
def _grammar(directory: Path, data_hash: str, n_ctx: int, key: _SampleKey) -> Grammar:
    views, sample = _views(directory, data_hash, n_ctx), key.sample
    positions = np.asarray(sample.stream_position, dtype=np.int64)
    for view, given in zip(views, (sample.ids, sample.previous)):
        if len(positions) and (
            int(positions.max()) >= len(view.keys) or not np.array_equal(view.keys[positions], given)
        ):
            raise BadInput(f"{directory}: its {view.name} tokens are not those of the sample; collect again")
    return Grammar(views, positions, np.asarray(sample.is_fit, dtype=np.bool_))


def grammar_on(data: TokenFile, positions: Int[ndarray, "t"], is_fit: Bool[ndarray, "t"]) -> Grammar:
    """A grammar of some positions of a data directory's eval stream, each in the fit or the eval half."""
    return Grammar(_views(data.directory.resolve(), data.data_hash, data.n_ctx), positions, is_fit)


def grammar_of(acts: Activations) -> Grammar:
    """The grammar of the sample of `acts`; built at the first call for a data directory and sample.

    Raises:
        BadInput: the data directory has gone, changed, or does not hold the sampled tokens.
    """
    directory = Path(acts.meta.data_dir).resolve()
    return _grammar(directory, acts.meta.data_hash, acts.meta.n_ctx, _SampleKey.of(acts.tokens))
