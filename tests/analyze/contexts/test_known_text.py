"""English and code are known text; other languages are not."""

import json
from pathlib import Path

import numpy as np
import pytest

from analyze.contexts.known_text import known_text_on
from analyze.text.stream import stream_of
from train.data.config import DataConfig, SourceConfig
from train.data.prepare import prepare
from train.data.tokens import TokenFile

GERMAN = (
    "Die Stadt liegt in der Mitte des Landes und ist mit dem Zug von Norden zu erreichen. Der Fluss wurde im Jahr "
    "darauf begradigt, und die Brücken sind nicht mehr zu sehen. Auch das Rathaus ist neu. Nummer {}."
)
ENGLISH = (
    "The city lies in the middle of the country and is reached by train from the north. The river was straightened a "
    "year later, and the bridges are no longer to be seen. The town hall is new as well. Number {}."
)
CODE = "import os\n\n\ndef number_{}(path):\n    with open(path) as file:\n        return os.stat(file.name)\n"
MORE = {
    "German": GERMAN,
    "English": ENGLISH,
    "code": CODE,
    "Chinese": "\u57ce\u5e02\u4f4d\u4e8e\u8be5\u56fd\u4e2d\u90e8\u3002{}",
}


def held_out_text(place: Path, texts: list[str]) -> TokenFile:
    """Data of some texts, each under numbers of its own."""
    rows = [{"text": text.format(f"{index} {index * 7}")} for index in range(60) for text in texts]
    (place / "text.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    source = SourceConfig(kind="files", weight=1, paths=(str(place / "text.jsonl"),))
    config = DataConfig(name="d", sources=(source,), d_vocab=400, n_ctx=16, eval_share=0.4, allow_more_held_out=True)
    return TokenFile.open(prepare(config, place / "data").directory, split="eval")


@pytest.mark.parametrize(("sort", "expected"), [("English", 1), ("code", 1), ("German", 0), ("Chinese", 0)])
def test_a_text_of_one_sort_is_known_or_not(tmp_path: Path, sort: str, expected: int):
    data = held_out_text(tmp_path, [MORE[sort]])
    assert known_text_on(data)[stream_of(data).positions].mean() == pytest.approx(expected, abs=0.1)


def test_in_a_mixture_each_document_goes_by_its_own_language(tmp_path: Path):
    data = held_out_text(tmp_path, [GERMAN, ENGLISH])
    stream = stream_of(data)
    known = known_text_on(data)
    for passage, start in zip(stream.passages, stream.starts.tolist()):
        assert known[start] == ("The city" in passage.text)
    assert not known[np.setdiff1d(np.arange(len(stream)), stream.positions)].any(), "separators"
