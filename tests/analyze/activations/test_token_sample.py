from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from analyze.activations.store import TokenSample
from analyze.activations.token_sample import counted_in_sample, counted_tokens, make_plan
from tests.analyze.activations.collected import LENGTHS, write_data
from train.data.tokens import TokenFile


@pytest.mark.parametrize("n_rows", [1, 3, 1000])
def test_firings_of_some_rows_equal_those_of_a_sample_of_all_tokens(tmp_path: Path, n_rows: int) -> None:
    tokens = TokenFile.open(write_data(tmp_path / "data", LENGTHS), "eval")
    plan = make_plan(tokens, tokens.n_rows, share=1.0)
    for first in range(0, tokens.n_rows, n_rows):
        rows = tokens.plain_rows(first, min(n_rows, tokens.n_rows - first))
        at, kept = counted_tokens(tokens, first, rows, plan.is_fit)
        at_again, kept_there = counted_in_sample(plan.tokens, first, first + len(rows), tokens.n_ctx)
        assert np.array_equal(at, at_again)
        for field in fields(TokenSample):
            one, other = getattr(kept, field.name), getattr(kept_there, field.name)
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
