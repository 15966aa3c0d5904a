"""Parts of speech: the tagger is textblob's, its accuracy is what its docstring says, and it may be missing."""

import re
import warnings
from math import sqrt
from pathlib import Path

import pytest

from analyze.labels.families import speech
from analyze.labels.families.speech import lexicon_path, read_lexicon, tags, universal, words_of
from tests.analyze.labels.texts import marked, stream_of

needs_lexicon = pytest.mark.skipif(lexicon_path() is None, reason="textblob is not installed (extra `labels`)")
GOLD = [
    [tuple(word.rsplit("/", 1)) for word in line.split()]
    for line in (Path(__file__).parent / "gold.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
SENTENCE = ["The", " large", " cats", " sat", " quickly", " on", " 3", " mats", " and", " it", " was", " seen", "."]


def lexicon() -> dict[str, str]:
    path = lexicon_path()
    assert path is not None
    return read_lexicon(path)


def wilson(right: int, n: int) -> tuple[float, float]:
    p, z = right / n, 1.96
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


@needs_lexicon
def test_its_accuracy_on_prose_tagged_by_hand_is_what_the_docstring_says():
    pairs = [
        (tag, universal(given))
        for sentence in GOLD
        for (_, tag), given in zip(sentence, tags([word for word, _ in sentence], lexicon()))
    ]
    words = [(tag, given) for tag, given in pairs if tag != "."]
    right = sum(tag == given for tag, given in words)
    low, high = wilson(right, len(words))
    said = (
        f"{len(words)} words of Wikipedia prose tagged by hand for this project it is right in {right / len(words):.1%}"
    )
    said = f"{said} (Wilson 95 % interval {100 * low:.1f} to {100 * high:.1f})".replace("%", " %").replace("  ", " ")
    assert said in " ".join((speech.__doc__ or "").split()), said


@needs_lexicon
def test_text_is_cut_into_words_as_the_hand_tagged_sentences_are():
    text = "Earth's land surface isn't dry: U.S. rain (29.2%) fell in 1990–95, e.g. here... Then it ended."
    cut = [[text[start:stop] for start, stop in sentence] for sentence in words_of(text)]
    assert [" ".join(sentence) for sentence in cut] == [
        "Earth 's land surface is n't dry : U.S. rain ( 29.2% ) fell in 1990 – 95 , e.g. here ...",
        "Then it ended .",
    ]


@needs_lexicon
def test_tags_are_those_of_textblob():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from textblob.en import parser

        for sentence in GOLD:
            words = [word for word, _ in sentence]
            assert tags(words, lexicon()) == [tag for _, tag in parser.find_tags(words)]


@needs_lexicon
def test_each_word_bears_its_tags_on_all_of_its_tokens():
    assert marked(
        "a word tagged as a verb", ["The", " cat", " s", "at", ".", " It", " was", " in", " the", " hat"]
    ) == [*(" s", "at", " was")]
    for name, words in {
        "a word tagged as a determiner": ["The"],
        "a word tagged as a noun": [" cats", " mats"],
        "a word tagged as a plural noun": [" cats", " mats"],
        "a word tagged as an adjective": [" large"],
        "a word tagged as an adverb": [" quickly"],
        "a word tagged as a preposition or subordinating conjunction": [" on"],
        "a word tagged as a numeral": [" 3"],
        "a word tagged as a conjunction": [" and"],
        "a word tagged as a pronoun": [" it"],
        "a word tagged as a verb in the past tense": [" sat", " was"],
        "a word tagged as a past participle": [" seen"],
    }.items():
        assert marked(name, SENTENCE) == words, name


def test_other_languages_and_code_are_not_tagged():
    french = re.findall(r" ?\S+", "le chat est sur la table et il est dans les bras de la dame")
    assert marked("a word tagged as a noun", french) == []
    assert marked("a word tagged as a noun", SENTENCE, path="a.py") == []


def test_without_the_package_the_labels_are_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speech, "PACKAGE", "no-such-package")
    assert list(speech.FAMILY.find(stream_of([SENTENCE]))) == []
