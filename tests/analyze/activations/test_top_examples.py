import numpy as np
import polars as pl
import pytest
import torch
from jaxtyping import Float

from analyze.activations.store import HALVES, TokenSample
from analyze.activations.token_sample import select
from analyze.activations.top_examples import N_EXAMPLES, N_WAITING, TopExamples
from tests.analyze.activations.chunks import stream_of

N = 5
ENDS = [1, 2, 40, 41, 300, 1500, 1501]


def made_up(seed: int) -> tuple[TokenSample, Float[np.ndarray, "t n"]]:
    """More documents than are kept and wait together, with many equal activations."""
    rng = np.random.default_rng(seed)
    tokens = stream_of(2500, rng, n_documents=4 * (N_EXAMPLES + N_WAITING))
    values = rng.normal(size=(len(tokens), N)).round(1).astype(np.float32)
    values[:, 0] = 0.0
    return tokens, values


def add(
    examples: TopExamples, tokens: TokenSample, values: Float[np.ndarray, "t n"], ends: list[int]
) -> list[dict[str, np.ndarray]]:
    """Pass a stream cut at `ends`; gives a copy of the state at each."""
    states = []
    for start, stop in zip([0, *ends], [*ends, len(tokens)]):
        examples.update(torch.from_numpy(values[start:stop]), select(tokens, np.arange(start, stop)))
        if stop in ends:
            states.append({name: array.copy() for name, array in examples.state().items()})
    return states


def by_hand(tokens: TokenSample, values: Float[np.ndarray, "t n"]) -> pl.DataFrame:
    """The examples by sorting each neuron's documents."""
    rows = []
    for neuron in range(N):
        for half, is_fit in zip(HALVES, (True, False)):
            peaks = []
            for document in np.unique(tokens.document[tokens.is_fit == is_fit]):
                at = np.flatnonzero(tokens.document == document)
                peaks.append(int(at[values[at, neuron].argmax()]))
            strongest = sorted(peaks, key=lambda token: -values[token, neuron])[:N_EXAMPLES]
            for rank, token in enumerate(strongest):
                where = (tokens.document[token], tokens.stream_position[token], tokens.position[token])
                rows.append((neuron, half, rank, *map(int, where), float(values[token, neuron])))
    schema = {
        "neuron": pl.Int32,
        "half": pl.String,
        "rank": pl.Int32,
        "document": pl.Int32,
        "stream_position": pl.Int64,
        "position": pl.Int32,
        "activation": pl.Float32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize("ends", [[], ENDS, list(range(7, 2500, 7))])
def test_in_any_pieces_each_document_gives_its_strongest_token_and_the_earlier_of_equals(ends: list[int]) -> None:
    tokens, values = made_up(0)
    examples = TopExamples(N)
    for start, stop in zip([0, *ends], [*ends, len(tokens)]):
        examples.update(torch.from_numpy(values[start:stop]), select(tokens, np.arange(start, stop)))
    assert examples.finish().equals(by_hand(tokens, values))


def test_rows_that_belong_to_no_token_are_skipped() -> None:
    tokens, values = made_up(1)
    rng = np.random.default_rng(2)
    examples = TopExamples(N)
    for start in range(0, len(tokens), 100):
        rows = np.sort(rng.permutation(130)[:100])
        padded = np.full((130, N), 99.0, dtype=np.float32)
        padded[rows] = values[start : start + 100]
        examples.update(torch.from_numpy(padded), select(tokens, np.arange(start, start + 100)), rows)
    assert examples.finish().equals(by_hand(tokens, values))


def test_every_state_goes_on_to_the_same_end() -> None:
    tokens, values = made_up(3)
    whole = TopExamples(N)
    for end, state in zip(ENDS, add(whole, tokens, values, ENDS)):
        again = TopExamples(N)
        for name, array in again.state().items():
            array[...] = state[name]
        again.reopen(state)
        add(again, select(tokens, np.arange(end, len(tokens))), values[end:], [])
        assert again.finish().equals(by_hand(tokens, values))
    assert whole.finish().equals(by_hand(tokens, values))
