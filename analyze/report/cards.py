"""Cards of single neurons: what is known of one, and its examples with the text around them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Int
from numpy import ndarray

from analyze.activations.provenance import located_data, open_held_out
from analyze.activations.store import ActivationsMeta
from analyze.fission.store import FissionMeta
from analyze.scores.passages import AFTER, BEFORE
from analyze.tables import visible
from analyze.text.stream import pieces_between, vocabulary_of
from train.data.text_places import read_text
from train.errors import BadInput, Damaged

LEVELS = 8


@dataclass(frozen=True)
class Piece:
    """One token as it is shown: its text, its CSS classes, its activation where that is known."""

    text: str
    classes: str
    activation: str | None
    may_break: bool
    """Whether a line may end before it: not inside a word that the tokenizer cut."""


@dataclass(frozen=True)
class Example:
    """A strong example of a neuron with the text around it; no pieces where the text is not at hand."""

    activation: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Rule:
    """A rule as a sentence, with its held-out gain."""

    sentence: str
    gain: str


@dataclass(frozen=True)
class Card:
    """A neuron as the report shows it."""

    title: str
    verdict: str
    verdict_class: str
    facts: tuple[tuple[str, str], ...]
    examples: tuple[Example, ...]
    rules: tuple[Rule, ...] = ()
    sentences: tuple[str, ...] = ()
    """What further scores say of it."""


class Text:
    """The held-out text that activations were collected on; without it there is a `trouble`.

    It is looked for as in `train.locate`: in the given places, where it lay, and beside the results.
    """

    def __init__(self, meta: ActivationsMeta | FissionMeta, beside: Path, given: Iterable[Path] = ()) -> None:
        self.trouble: str | None = None
        try:
            directory = located_data(meta.data_dir, meta.data_hash, beside, given)
            self._tokens = open_held_out(directory, meta.data_hash, meta.n_ctx)
            self._places = read_text(directory)
            self._pieces = vocabulary_of(directory).pieces
        except Damaged:
            raise
        except BadInput as failure:
            self.trouble = f"The text of examples is not shown: {failure}."

    @cached_property
    def _extents(self) -> tuple[Int[ndarray, "d"], Int[ndarray, "d"]]:
        documents = self._tokens.documents()
        return documents["start"].to_numpy(), documents["length"].to_numpy()

    def around(self, stream_position: int, document: int) -> tuple[int, list[bytes]]:
        """The first offset shown and the bytes of each token, cut at the ends of the document."""
        starts, lengths = self._extents
        first = max(int(starts[document]), stream_position - BEFORE)
        stop = min(int(starts[document] + lengths[document]), stream_position + AFTER + 1)
        if self._places is not None:
            texts, ends = self._places
            inside = slice(first - int(starts[document]), stop - int(starts[document]))
            return first, pieces_between(texts[document], ends[document])[inside]
        ids = self._tokens.stream(first, stop - first)
        return first, [self._pieces[token] for token in ids.tolist()]


def shown(piece: bytes) -> tuple[str, bool]:
    """A token as a reader sees it, and whether it is a part of a character alone (shown as \\x bytes)."""
    try:
        text, odd = piece.decode(), False
    except UnicodeDecodeError:
        text, odd = "".join(f"\\x{byte:02X}" if byte > 127 else chr(byte) for byte in piece), True
    text = text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", "⇥")
    if "  " in text or text == " ":
        text = text.replace(" ", "␣")
    return visible(text), odd


def example_of(text: Text, row: dict[str, Any], top: float, at: Callable[[int], float | None], label: str) -> Example:
    """An example with the text around it.

    Args:
        row: of a table of examples: document, stream_position, position, activation.
        top: activation of the strongest example shown, which shades go by.
        at: the neuron's activation at a position in the stream, where it is known.
        label: what stands before the text.
    """
    peak = row["stream_position"]
    if text.trouble is not None:
        return Example(label, ())
    first, pieces = text.around(peak, row["document"])
    row_start = peak - (row["position"] - 1)
    out = []
    for place, piece in enumerate(pieces, first):
        activation = row["activation"] if place == peak else at(place)
        words, odd = shown(piece)
        classes = ["t", f"h{level(activation, top)}"]
        classes += ["sampled"] * (activation is not None) + ["peak"] * (place == peak)
        classes += ["far"] * (place < row_start) + ["odd"] * odd
        title = None if activation is None else f"{activation:.3g}"
        shades = " ".join(name for name in classes if name != "h0")
        out.append(Piece(words, shades, title, odd or not words[:1].isalnum()))
    return Example(label, tuple(out))


def level(activation: float | None, top: float) -> int:
    """Shade 0 to 8 of an activation as a share of the neuron's strongest example shown; 0 below 0."""
    if activation is None or not activation > 0 or not top > 0:
        return 0
    return min(LEVELS, round(LEVELS * activation / top))
