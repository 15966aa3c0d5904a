"""Fit and judge what tells code from prose by the text alone (train/data/classify.py).

    python benchmarks/content.py          # a table of kinds: decided, wrongly called; by symbols and by the model
    python benchmarks/content.py --fit    # fit the model first, on half of the sources, and write classify.json

The texts (benchmarks/content_corpus.py) are files of this machine and articles of the embedded Wikipedia, so figures
differ a little from machine to machine. The table is of sources that fitted nothing.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.content_corpus import Text, texts  # noqa: E402
from train.data.classify import FEATURES, MODEL, classify, features  # noqa: E402

NEITHER = "neither"
PENALTY = 1.0
N_MIXTURES = 80
SYMBOLS, SYMBOL_SHARE = frozenset(b"()[]{}=_<>#\\/*+|&^~;@"), 0.04


def by_symbols(text: str) -> str:
    """What was called code before: more than 4 % of symbols."""
    data = text.encode()
    return "code" if sum(byte in SYMBOLS for byte in data) > SYMBOL_SHARE * len(data) else "prose"


def fit(corpus: list[Text]) -> None:
    """Multinomial logistic regression on the sources that fit, every class of one weight; written to classify.json."""
    from sklearn.linear_model import LogisticRegression

    chosen = [text for text in corpus if text.is_fit and " with much code" not in text.kind]
    chosen += _mixtures(chosen)
    x = np.stack([features(text.text) for text in chosen])
    truth = np.array([text.truth if text.truth in ("code", "prose") else NEITHER for text in chosen])
    scale = x.std(axis=0) + 1e-3
    model = LogisticRegression(C=PENALTY, max_iter=2_000, class_weight="balanced").fit(x / scale, truth)
    classes = model.classes_.tolist()
    weights, intercepts = model.coef_ / scale, model.intercept_
    base = classes.index(NEITHER)
    said = {
        name: dict(
            zip(
                ("intercept", *FEATURES),
                np.round([intercepts[i] - intercepts[base], *(weights[i] - weights[base])], 3).tolist(),
            )
        )
        for i, name in enumerate(classes)
        if name != NEITHER
    }
    MODEL.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _mixtures(corpus: list[Text]) -> list[Text]:
    """Prose with some code after it: a third to a half of it code, which is neither; less, which is prose."""
    draw = random.Random(0)
    prose, code = ([text for text in corpus if text.truth == truth] for truth in ("prose", "code"))
    made = []
    for truth, least, most in ((None, 0.3, 0.5), ("prose", 0.05, 0.15)):
        for _ in range(N_MIXTURES):
            begin, end = draw.choice(prose).text, draw.choice(code).text
            share = draw.uniform(least, most)
            n_code = int(len(begin) * share / (1 - share))
            made.append(Text("mixture", truth, "made", f"{begin}\n\n{end[:n_code]}\n"))
    return made


def table(corpus: list[Text]) -> str:
    """Markdown: a line a kind and one for all code and all prose, of the sources that fitted nothing."""
    held_out = [text for text in corpus if not text.is_fit]
    called = [(text, by_symbols(text.text), classify(text.text)) for text in held_out]
    kinds = sorted({text.kind for text in held_out}, key=lambda kind: (_truth(kind, held_out), kind))
    groups = [(kind, [row for row in called if row[0].kind == kind]) for kind in kinds]
    groups += [(f"**all {truth}**", [row for row in called if row[0].truth == truth]) for truth in ("code", "prose")]
    lines = [
        "| kind | is | texts | wrong by 4 % symbols, % | decided, % | wrong, % |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for kind, rows in groups:
        truth = rows[0][0].truth
        before = 100 * np.mean([old != truth for _, old, _ in rows])
        decided = 100 * np.mean([new != "unknown" for *_, new in rows])
        wrong = 100 * np.mean([new not in ("unknown", truth) for *_, new in rows])
        if truth == "not code":
            before, wrong = (100 * np.mean([row[i] == "code" for row in rows]) for i in (1, 2))
        shown = (
            (f"{before:.1f}", f"{wrong:.1f}")
            if truth
            else ("", f"{100 * np.mean([new == 'code' for *_, new in rows]):.0f} code")
        )
        lines.append(f"| {kind} | {truth or 'neither'} | {len(rows)} | {shown[0]} | {decided:.1f} | {shown[1]} |")
    return "\n".join(lines)


def _truth(kind: str, corpus: list[Text]) -> str:
    return next(text.truth or "~" for text in corpus if text.kind == kind)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit the model and write train/data/classify.json first")
    chosen = parser.parse_args()
    corpus = texts()
    if chosen.fit:
        fit(corpus)
    print(table(corpus))


if __name__ == "__main__":
    main()
