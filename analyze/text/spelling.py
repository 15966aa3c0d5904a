"""How tokens are written, as vectors: `spelled`, by pieces of words alone, and `forms`, with case and shape.

K_eff compares rules by `spelled`, contexts have a view of `forms`. One kind of vector might serve both, but either
choice would change scores.
"""

import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from numpy import ndarray

from analyze.text.embeddings import D_EMBED, unit_rows
from analyze.text.vocabulary import Vocabulary

LENGTHS = (2, 3, 4)
"""Letters of a piece of a word."""


def spelled(texts: Sequence[str | None]) -> sp.csr_array:
    """[texts pieces]: a unit row for each text of letters alone, zeros for any other.

    A text in lower case, with `^` before it where it begins with a space (a word begins there) and `$` after it, is
    the set of its pieces of LENGTHS letters; a piece counts log((1 + texts) / (1 + texts with it)).
    """
    number: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    for row, text in enumerate(texts):
        if not text or not text.strip().isalpha():
            continue
        word = ("^" if text[0] == " " else "") + text.strip().lower() + "$"
        pieces = {word[first : first + n] for n in LENGTHS for first in range(len(word) - n + 1)}
        rows += [row] * len(pieces)
        columns += [number.setdefault(piece, len(number)) for piece in sorted(pieces)]
    found_in = np.bincount(np.array(columns, np.int64), minlength=len(number))
    weight = np.log((1 + len(texts)) / (1 + found_in))[columns] if columns else np.zeros(0)
    length = np.sqrt(np.bincount(np.array(rows, np.int64), weight**2, len(texts)))
    scale = 1 / np.where(length > 0, length, 1.0)
    return sp.csr_array((weight * scale[rows], (rows, columns)), (len(texts), len(number)))


def forms(vocabulary: Vocabulary, d: int = D_EMBED) -> Float[ndarray, "v d"]:
    """Unit vectors of how each token is written, by hashed features with signs.

    Half of the squared length is the character 2- and 3-grams of the folded token and the whole of it, half is
    its shape as written (case, digits, symbols, leading space; runs counted once). The hash is CRC-32, so that
    every machine gives the same vectors. Source: Weinberger et al., "Feature Hashing for Large Scale Multitask
    Learning", 2009.
    """
    halves = []
    for features in (_grams, _shape):
        half = np.zeros((len(vocabulary), d))
        for token, (piece, text) in enumerate(zip(vocabulary.pieces, vocabulary.texts)):
            for feature in features(piece.decode("latin-1") if text is None else text, text is None):
                code = crc32(feature.encode())
                half[token, code % d] += 1.0 if code >> 31 else -1.0
        halves.append(unit_rows(half))
    return unit_rows(halves[0] + halves[1])


def _grams(text: str, is_bytes: bool) -> list[str]:
    folded = f"^{text if is_bytes else text.strip(' ').lower()}$"
    return ["whole:" + folded, *(folded[i : i + n] for n in (2, 3) for i in range(len(folded) - n + 1))]


def _shape(text: str, is_bytes: bool) -> list[str]:
    if is_bytes:
        return ["shape:bytes"]
    drawn = "".join("A" if c.isupper() else "a" if c.isalpha() else "0" if c.isdigit() else c for c in text.strip(" "))
    spaced = "spaced" if text[:1] == " " else "joined"
    return ["shape:" + re.sub(r"(.)\1+", r"\1", drawn, flags=re.DOTALL), spaced]
