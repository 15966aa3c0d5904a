"""Made-up and real text for whoever reads it."""

from pathlib import Path

import pytest

from analyze.activations.store import TokenSample
from analyze.rules.grammar import Grammar
from tests.analyze.activations.synthetic import write_data
from tests.analyze.scores.scoring import grammar_on
from tests.conftest import once


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grammar, TokenSample, Path]:
    """The grammar of about 9,000 tokens of made-up sentences in 90 documents, those tokens, and their directory."""
    data = write_data(tmp_path_factory.mktemp("made-up") / "data", n_documents=90, hostile=False)
    return (*grammar_on(data), data)


@pytest.fixture(scope="session")
def real_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of encyclopedia prose and Python."""
    from train.data.config import DataConfig
    from train.data.prepare import prepare

    sources = ({"kind": "wiki", "weight": 0.8}, {"kind": "python", "packages": ["networkx"], "weight": 0.2})
    config = DataConfig.model_validate({"name": "real", "sources": list(sources)})
    return once(tmp_path_factory, "real-text", lambda root: prepare(config, root / "data", progress=False)) / "data"
