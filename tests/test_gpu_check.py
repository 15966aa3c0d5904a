"""The check that runs on a GPU, on the CPU at a tiny size."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_check import Part, as_markdown, run_part

ROOT = Path(__file__).parents[1]
SOME = ["--only", "TransformerLens", "nanoGPT-like, allocator", "polysem, bare step", "polysem, train run"]


@pytest.mark.slow
def test_the_whole_check_runs_on_the_cpu_and_leaves_a_json_and_a_page(tmp_path: Path):
    words = ["--device", "cpu", "--size", "tiny", "--out", str(tmp_path / "gpu"), "--minutes", "30", *SOME]
    parts = ["--parts", "tests", "paper", "collecting", "two ranks"]
    done = subprocess.run(
        [ROOT / "scripts/gpu_check.sh", *words, *parts],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "gpu/gpu.json").read_text())
    assert {part["name"]: part["state"] for part in record["parts"]} == dict.fromkeys(parts[1:], "done")
    tests, training, collecting, ranks = (part["figures"] for part in record["parts"])
    assert tests["tests"] > 10
    assert tests["failures"] + tests["errors"] == 0
    assert tests["skipped"] == 1  # torch counts no memory on a CPU
    assert [row["name"] for row in training[0]["rows"]] == SOME[1:]
    assert all(row["tokens_per_s"] > 0 and row["peak_mb"] > 0 for row in training[0]["rows"])
    assert {row["name"] for row in collecting["rows"]} >= {"top 20 alone", "full pass"}
    assert ranks["2"]["held_out_loss"] == pytest.approx(ranks["1"]["held_out_loss"], abs=1e-3)
    page = (tmp_path / "gpu/gpu.md").read_text()
    assert all(name in page for name in SOME[1:])
    assert "| 2 |" in page


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path):
    words = [sys.executable, "benchmarks/gpu_check.py", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "error: torch sees no GPU" in done.stderr


def test_a_part_that_takes_too_long_is_ended_with_all_that_it_started_and_what_it_left_stays(tmp_path: Path):
    marker = tmp_path / "late"
    child = f"import time; time.sleep(3); open({str(marker)!r}, 'w')"
    program = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    found = tmp_path / "found.json"
    found.write_text('{"some": 1}')
    part = run_part("paper", [sys.executable, "-c", program], 1, found, {})
    assert (part.state, part.figures) == ("out of time", {"some": 1})
    assert part.seconds < 30
    time.sleep(3)
    assert not marker.exists()


def test_a_part_that_fails_is_named_with_its_last_words_on_the_page(tmp_path: Path):
    program = "raise SystemExit('out of memory')"
    part = run_part("collecting", [sys.executable, "-c", program], 60, tmp_path / "none.json", {})
    assert (part.state, part.said, part.figures) == ("failed", "out of memory", None)
    empty = Part("paper", "done", figures=[{"model": "paper", "rows": []}])  # no contestant started
    page = as_markdown({"gpu": "none"}, [empty, part, Part("two ranks", "left out", said="there is one GPU")], 1.0)
    assert "| collecting | failed: out of memory |" in page
    assert "| two ranks | left out: there is one GPU | 0 |" in page
