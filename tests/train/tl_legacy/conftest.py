"""Converted copies of imported models lie in a place of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor


@pytest.fixture(autouse=True)
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of converted copies."""
    monkeypatch.setenv("POLYSEM_IMPORTS", str(tmp_path / "imports"))
    return tmp_path / "imports"


@pytest.fixture
def their_logits(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Tensor], Tensor]:
    """Logits of a legacy directory as TransformerLens' own reader of the format computes them."""
    import huggingface_hub
    from transformer_lens.model_bridge.sources.tl_legacy import boot

    def logits(directory: Path, tokens: Tensor) -> Tensor:
        class Hub:
            """Lists the directory in place of a repository."""

            def list_repo_files(self, name: str) -> list[str]:
                return [path.name for path in directory.iterdir()]

        def download(name: str, file: str, **others: Any) -> str:
            return str(directory / file)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
        return boot("NeelNanda/a-directory", device="cpu")(tokens)

    return logits
