import re
import subprocess
import sys
from pathlib import Path

import pytest

from analyze.activations.token_sums import ENTRY_BYTES

ROOT = Path(__file__).parents[3]
WIDE = """
import resource, sys
from pathlib import Path
from analyze.activations.collect import collect_source
from analyze.activations.source import CheckpointSource
from tests.analyze.activations.collected import D_VOCAB, N_CTX, write_data
from train.checkpoint import load, save_checkpoint
from train.config import ModelConfig
from train.files import manifest_hash
from train.hashes import sha256
from train.model import Transformer
from train.data.tokens import TokenFile

root, sample = Path(sys.argv[1]), int(sys.argv[2]) or None
data = write_data(root / "data", [100] * 80)
config = ModelConfig(
    n_layers=1, d_model=16, n_heads=2, n_ctx=N_CTX, d_vocab=D_VOCAB, act="relu", widths=(12_800,)
)
state = {
    "run": "wide", "variant": "wide", "root_variant": "wide", "seed": 0, "step": 0, "tokens": 0, "tokens_before": 0,
    "n_params": config.n_params, "factor": 1, "start": None, "evaluation": None,
    "data": {"hash": manifest_hash(data), "directory": str(data), "tokenizer_sha256": sha256(b"{}")},
}
checkpoint = save_checkpoint(root / "run", Transformer(config), {}, state, b"{}", None)
tokens = TokenFile.open(data, "eval")
collect_source(CheckpointSource(load(checkpoint), 0), tokens, root / "L0.mid", sample_tokens=sample)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sample_tokens", [0, 4000])
def test_a_wide_layer_stays_within_the_announced_memory_and_under_2_gb(tmp_path: Path, sample_tokens: int) -> None:
    arguments = [sys.executable, "-c", WIDE, str(tmp_path), str(sample_tokens)]
    ran = subprocess.run(arguments, check=True, cwd=ROOT, capture_output=True, text=True)
    told = re.search(r"at most ([0-9,]+) MB of memory", ran.stdout)
    peak = re.search(r"peak ([0-9]+)", ran.stdout)
    assert told is not None
    assert peak is not None
    bytes_told, bytes_taken = int(told[1].replace(",", "")) * 1e6, int(peak[1]) * 1024
    assert bytes_taken <= bytes_told
    assert bytes_taken < 2e9
    assert bytes_told < 2.5 * bytes_taken  # the peak differs by as much with threads and allocator


def test_the_arithmetic_of_a_wide_layer_and_a_large_vocabulary() -> None:
    pairs = 51_200 * 48_262
    assert round(4 * pairs / 1e9, 1) == 9.9
    assert round(5 * 4 * pairs / 1e9) == 49
    assert ENTRY_BYTES == 24
    densities = {"relu": 0.035, "solu_ln": 0.066, "gelu_new": 0.2}
    sizes = {act: float(f"{ENTRY_BYTES * pairs * density / 1e9:.2g}") for act, density in densities.items()}
    assert sizes == {"relu": 2.1, "solu_ln": 3.9, "gelu_new": 12}
