"""How much of the vocabulary the training text shows a model, and held-out text that is larger than it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.test_prepare import config, jsonl, stories
from train.data.prepare import Prepared, prepare
from train.data.tokens import TokenFile
from train.errors import BadInput


def counted(result: Prepared) -> dict[str, float]:
    fit, held_out = (
        Counter(file.stream(0, file.n_tokens).tolist())
        for file in (TokenFile.open(result.directory, split) for split in ("fit", "eval"))
    )
    ids = range(result.facts["d_vocab"])
    return {
        "never": sum(fit[i] == 0 for i in ids),
        "rare": sum(fit[i] < 10 for i in ids),
        "held_out_rare": round(sum(n for i, n in held_out.items() if fit[i] < 10) / held_out.total(), 6),
    }


def words(n: int) -> list[str]:
    """Texts of random words, most of which stand once or twice in all of them."""
    rng = np.random.default_rng(0)
    return [" ".join("".join(rng.choice(list("abcdefgh"), 5)) for _ in range(20)) for _ in range(n)]


@pytest.mark.parametrize("min_frequency", [1, 2, 10])
@pytest.mark.parametrize("texts", [stories(300), words(60)], ids=["stories", "words"])
def test_ids_that_training_hardly_sees_are_counted(tmp_path: Path, texts: list[str], min_frequency: int) -> None:
    wanted = config(jsonl(tmp_path / "a.jsonl", texts), d_vocab=5000, min_frequency=min_frequency)
    result = prepare(wanted, tmp_path / "out")
    assert result.record["vocabulary"] == counted(result)
    made = result.facts["d_vocab"]
    assert made < 5000
    assert f"the text supports {made:,} of the 5,000 ids asked for" in "\n".join(result.notes())
    assert bool(result.warnings()) == (counted(result)["held_out_rare"] > 0.05)


def test_a_vocabulary_above_what_the_text_supports_is_warned_of(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", words(60))
    large = prepare(config(source, d_vocab=5000, min_frequency=1), tmp_path / "large")
    small = prepare(config(source, d_vocab=300), tmp_path / "small")
    assert "of held-out tokens are ids that training sees fewer than 10 times" in large.warnings()[0]
    assert not small.warnings()
    assert not [line for line in small.notes() if "asked for" in line]


def test_larger_held_out_text_is_refused_unless_it_is_asked_for(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", stories(300))
    with pytest.raises(BadInput, match=r"eval_share: [\d,]+ characters of held-out text .* allow_more_held_out = true"):
        prepare(config(source, eval_share=0.8), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = prepare(config(source, eval_share=0.8, allow_more_held_out=True), tmp_path / "out")
    assert result.facts["n_tokens"]["eval"] > result.facts["n_tokens"]["fit"]
