"""Parts of speech of English prose, as the tagger of the package `textblob` gives them.

Its PatternTagger (De Smedt and Daelemans, "Pattern for Python", JMLR 13, 2012) looks a word up in the lexicon
of Brill's tagger (93,000 words from the Brown corpus and the Penn Treebank, each with its commonest tag) and
goes by capitals, digits and endings for any other; it leaves out Brill's rules of context. For such a tagger
Brill ("A simple rule-based part of speech tagger", 1992) gives 92.1 % of the Brown corpus in fine tags. In
universal tags, on 644 words of Wikipedia prose tagged by hand for this project it is right in 94.9 % (Wilson 95 %
interval 92.9 to 96.3); it errs most where a participle, noun and adjective share a form. The tagger's
answers were known to whoever tagged the words, so that figure may be a little high.

Only the lexicon file of the package is read; nothing of it is imported (it would import nltk).
"""

import importlib.metadata
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from analyze.labels.base import Family, Label, Labelled, Span, declared, label_spans
from analyze.labels.families.origin import language_of
from analyze.labels.families.sentences import sentences_of
from analyze.text.stream import Passage, Stream

PACKAGE = "textblob"
INSTALL = "pip install 'polysem[labels]' or pip install textblob==0.20.1"
_LEXICON = "textblob/en/en-lexicon.txt"
_NUMBER = re.compile(r"[0-9\-,.:/%$]+")
_TOKEN = re.compile(
    r"(?:[A-Za-z]\.){2,}|[^\W\d_]+(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b|[0-9]+(?:[.,:][0-9]+)*%?"
    r"(?![^\W_])|[^\W_]+(?:[-–][^\W_]+)*|\.{3}|\S"
)
UNIVERSAL = {
    "NOUN": "NN NNS NNP NNPS NP",
    "VERB": "MD VB VBD VBG VBN VBP VBZ",
    "ADJ": "JJ JJR JJS",
    "ADV": "RB RBR RBS WRB",
    "PRON": "PRP PRP$ WP WP$",
    "DET": "DT PDT WDT EX",
    "ADP": "IN",
    "NUM": "CD",
    "CONJ": "CC",
    "PRT": "POS RP TO",
}
"""Tags of the Penn Treebank in each universal tag (Petrov, Das and McDonald, 2012); the rest are "." and "X"."""
_UNIVERSAL_OF = {penn: universal for universal, tags in UNIVERSAL.items() for penn in tags.split()}
_NAMES = {
    "NOUN": "a noun",
    "VERB": "a verb",
    "ADJ": "an adjective",
    "ADV": "an adverb",
    "PRON": "a pronoun",
    "DET": "a determiner",
    "ADP": "a preposition or subordinating conjunction",
    "NUM": "a numeral",
    "CONJ": "a conjunction",
    "PRT": "a particle, to or possessive ending",
}
_FINER = {
    "a proper noun": "NNP NNPS",
    "a plural noun": "NNS NNPS",
    "a singular common noun": "NN",
    "a verb in the past tense": "VBD",
    "a past participle": "VBN",
    "a gerund or present participle": "VBG",
    "a verb in the present tense": "VBP VBZ",
    "a verb in its base form": "VB",
    "a comparative": "JJR RBR",
    "a superlative": "JJS RBS",
}
_FINER_OF = {
    tag: [name for name, its_tags in _FINER.items() if tag in its_tags.split()]
    for tags in _FINER.values()
    for tag in tags.split()
}

LABELS: tuple[Label, ...] = declared(
    "part of speech",
    "tagger",
    False,
    *(f"a word tagged as {name}" for name in (*_NAMES.values(), *_FINER)),
    note="English prose, by textblob's PatternTagger: about 19 words in 20 are right",
)


def universal(tag: str) -> str:
    """The universal tag of one of the Penn Treebank; "." for punctuation, "X" for what is left."""
    return _UNIVERSAL_OF.get(tag, "." if not tag[:1].isalpha() else "X")


def words_of(text: str) -> Iterator[list[tuple[int, int]]]:
    """Offsets of words and signs, sentence by sentence: contractions and punctuation stand alone."""
    for start, stop in sentences_of(text):
        yield [match.span() for match in _TOKEN.finditer(text, start, stop)]


def tags(words: list[str], lexicon: dict[str, str]) -> list[str]:
    """Penn Treebank tags of one sentence, as textblob's `find_tags` gives them without rules of context."""
    return [_tag(word, number == 0, lexicon) for number, word in enumerate(words)]


def _tag(word: str, first: bool, lexicon: dict[str, str]) -> str:
    if known := lexicon.get(word) or (lexicon.get(word.lower()) if first else None):
        return known
    if word.istitle():
        return "NNP"
    return "CD" if _NUMBER.fullmatch(word) else _by_ending(word)


def _by_ending(word: str) -> str:
    """By the last rule that fits."""
    tag = "VBG" if word.endswith("ing") else "NN"
    if word.endswith("ly"):
        tag = "RB"
    if word.endswith("s") and not word.endswith(("is", "ous", "ss")):
        tag = "NNS"
    endings = ("able", "al", "ful", "ible", "ient", "ish", "ive", "less", "tic", "ous")
    if word.endswith(endings) or "-" in word:
        tag = "JJ"
    if word.endswith("ed"):
        tag = "VBN"
    return "VBP" if word.endswith(("ate", "ify", "ise", "ize")) else tag


def lexicon_path() -> Path | None:
    """The lexicon of the installed package; None where it is not installed or has none."""
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(_LEXICON)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


@cache
def read_lexicon(path: Path) -> dict[str, str]:
    """Each word's commonest tag."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.strip().split(" ")[:2] for line in lines if line.strip() and not line.startswith(";;;"))
    return {pair[0]: pair[1] for pair in pairs}


def _spans(passage: Passage, lexicon: dict[str, str]) -> Iterator[Span]:
    if language_of(passage) != "English":
        return
    for sentence in words_of(passage.text):
        words = [passage.text[start:stop] for start, stop in sentence]
        for span, tag in zip(sentence, tags(words, lexicon)):
            if (tagged := universal(tag)) in _NAMES:
                yield Span(f"a word tagged as {_NAMES[tagged]}", *span)
            for name in _FINER_OF.get(tag, ()):
                yield Span(f"a word tagged as {name}", *span)


def absent_labels() -> dict[str, str]:
    """Labels that are left out because the package is not installed -> the line that says so."""
    if lexicon_path() is not None:
        return {}
    return {label.name: f"parts of speech need the package {PACKAGE}: {INSTALL}" for label in LABELS}


def _find(stream: Stream) -> Labelled:
    path = lexicon_path()
    if path is None:
        return
    lexicon = read_lexicon(path)
    yield from label_spans(stream, LABELS, lambda passage: _spans(passage, lexicon))


FAMILY = Family("part of speech", _find)
