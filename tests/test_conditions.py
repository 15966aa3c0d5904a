"""The conditions under which every other test runs, in this process as in any other worker."""

from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

import analyze
import train
from train.config import ModelConfig
from train.model import Transformer

ROOT = Path(__file__).parents[1]


def test_shapes_and_types_are_checked():
    model = Transformer(ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=4, d_vocab=10, act="relu", widths=(8,)), 0)
    with pytest.raises(TypeCheckError):
        model(torch.zeros(1, 4))
    with pytest.raises(TypeCheckError):
        model(torch.zeros(4, dtype=torch.int64))


def test_a_checkout_tests_itself():
    assert [Path(package.__file__).parents[1] for package in (train, analyze)] == [ROOT, ROOT]


def test_a_worker_has_one_thread():
    assert torch.get_num_threads() == 1
