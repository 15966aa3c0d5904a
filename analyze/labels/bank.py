"""The label bank: features of tokens with known truth, read from prepared text alone, never from activations.

    bank = bank_on(TokenFile.open("data/default", split="eval"))
    bank.positions[bank.index("the first digit of a number")]    # stream positions of its tokens
    bank.matrix(acts.tokens.stream_position)                     # [tokens labels], sparse

What a label is, and which token of a span bears it, stands in `analyze.labels.base`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.provenance import held_out
from analyze.activations.store import Activations
from analyze.labels.base import TRUTHS, Family, Label, Span, Truth
from analyze.labels.extra import extra_families, label_family
from analyze.labels.families import FAMILIES
from analyze.labels.families.speech import absent_labels
from analyze.text.stream import Passage, Stream, stream_of
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem, did_you_mean
from train.hashes import sha256_file

__all__ = [
    "FEW_TOKENS",
    "TRUTHS",
    "Label",
    "LabelBank",
    "Overlaps",
    "Passage",
    "Span",
    "Truth",
    "bank_of",
    "bank_on",
    "label_family",
]

FEW_TOKENS = 10
"""A label with fewer tokens stays in the bank; whoever shows it says how few they are."""
SAME, NESTED = 0.95, 0.95
"""Two labels are equal from this intersection over union, nested from this share of the smaller one inside."""

Relation = Literal["equal", "nested", "overlapping"]


class Overlaps(NamedTuple):
    """How labels share tokens; zero where a label has none."""

    iou: Float[ndarray, "l l"]
    """Tokens of both over tokens of either."""
    inside: Float[ndarray, "l l"]
    """Share of label i's tokens that are label j's."""


@dataclass(frozen=True)
class LabelBank:
    """Labels and, for each, the sorted positions of its tokens in the eval stream."""

    labels: tuple[Label, ...]
    positions: tuple[Int[ndarray, "_"], ...]
    n_stream: int
    """Positions of the eval stream, separators included."""
    absent: dict[str, str] = field(default_factory=dict, repr=False)
    """Labels that could not be made here -> one line that says why and how to get them."""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The labels' names, in order."""
        return tuple(label.name for label in self.labels)

    @cached_property
    def n_tokens(self) -> Int[ndarray, "l"]:
        """Tokens of each label in the whole stream."""
        return np.array([len(positions) for positions in self.positions], np.int64)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Number of the label with this name.

        Raises:
            BadInput: no such label.
            EnvironmentProblem: a label that needs a package which is not installed.
        """
        if name in self._numbers:
            return self._numbers[name]
        if name in self.absent:
            raise EnvironmentProblem(f"label {name!r}: {self.absent[name]}")
        raise BadInput(f"label {name!r} is not in the bank{_nearest(name, self.names)}")

    @cached_property
    def _matrix(self) -> sp.csr_array:
        """[s labels] of ones."""
        rows = np.concatenate([np.zeros(0, np.int64), *self.positions])
        columns = np.repeat(np.arange(len(self)), self.n_tokens)
        return sp.csr_array((np.ones(len(rows)), (rows, columns)), (self.n_stream, len(self)))

    def matrix(self, stream_position: Int[ndarray, "t"]) -> sp.csc_array:
        """Which of these positions bear which labels: [t labels], float64 ones.

        Raises:
            BadInput: a position outside of the stream.
        """
        stream_position = np.asarray(stream_position)
        if len(stream_position) and not 0 <= stream_position.min() <= stream_position.max() < self.n_stream:
            raise BadInput(f"stream_position: the stream has positions 0 to {self.n_stream - 1}")
        return sp.csc_array(self._matrix[stream_position])

    def dense(self, stream_position: Int[ndarray, "t"]) -> Bool[ndarray, "t labels"]:
        """As `matrix`, dense: one byte a token and label."""
        return self.matrix(stream_position).toarray() > 0

    def overlaps(self, stream_position: Int[ndarray, "t"]) -> Overlaps:
        """How the labels share the tokens at these positions; from sparse sums, so cheap at many tokens."""
        labels = self.matrix(stream_position)
        both = np.asarray((labels.T @ labels).toarray(), np.float64)
        own = np.diag(both)
        either = own[:, None] + own - both
        return Overlaps(_ratio(both, either), _ratio(both, np.broadcast_to(own[:, None], both.shape)))

    def related(self, stream_position: Int[ndarray, "t"], threshold: float = 0.5) -> pl.DataFrame:
        """Pairs of labels that are equal, nested, or overlapping with an IoU of `threshold` or more.

        Returns:
            One row a pair: first (the smaller one where nested), second, relation, iou, first_inside and
            second_inside (share of its tokens that are the other's), most alike first.
        """
        iou, inside = self.overlaps(stream_position)
        near = np.triu((iou >= threshold) | (np.maximum(inside, inside.T) >= NESTED), 1)
        rows = []
        for i, j in np.argwhere(near).tolist():
            first, second = (i, j) if inside[i, j] >= inside[j, i] else (j, i)
            relation: Relation = (
                "equal" if iou[i, j] >= SAME else "nested" if inside[first, second] >= NESTED else "overlapping"
            )
            rows.append(
                {
                    "first": self.names[first],
                    "second": self.names[second],
                    "relation": relation,
                    "iou": float(iou[i, j]),
                    "first_inside": float(inside[first, second]),
                    "second_inside": float(inside[second, first]),
                }
            )
        words, shares = ("first", "second", "relation"), ("iou", "first_inside", "second_inside")
        schema: Mapping[str, type[pl.DataType]] = dict.fromkeys(words, pl.String) | dict.fromkeys(shares, pl.Float64)
        return pl.DataFrame(rows, schema).sort("iou", "first", "second", descending=[True, False, False])


def _nearest(name: str, names: Sequence[str]) -> str:
    suggestion = did_you_mean(name, list(names))
    return suggestion if suggestion.startswith("; did") else "; `polysem labels` lists it"


def _ratio(part: Float[ndarray, "l l"], whole: Float[ndarray, "l l"]) -> Float[ndarray, "l l"]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def build_bank(stream: Stream, families: Iterable[Family], bank: LabelBank | None = None) -> LabelBank:
    """The labels of some families on a stream, in the order of the families, after those of `bank`.

    Raises:
        BadInput: two labels of one name.
    """
    bank = bank or LabelBank((), (), len(stream))
    labels, positions = list(bank.labels), list(bank.positions)
    family_of = {label.name: label.family for label in labels}
    for family in families:
        for label, where in family.find(stream):
            if label.name in family_of:
                raise BadInput(
                    f"{family.name}: label {label.name!r} is there already, in family {family_of[label.name]!r}"
                )
            family_of[label.name] = label.family
            labels.append(label)
            positions.append(where)
    return LabelBank(tuple(labels), tuple(positions), bank.n_stream, bank.absent)


def bank_on(data: TokenFile, extra: Sequence[Path | str] = ()) -> LabelBank:
    """The labels of a data directory's held-out text; made once a process for each data and `extra`.

    Args:
        extra: the user's own labels: tables of spans, or .py files (see `analyze.labels.extra`).

    Raises:
        BadInput: an `extra` that does not fit the text, naming file, row and key.
    """
    paths = [Path(path) for path in extra]
    # A file that was edited is read again.
    return _bank(stream_of(data), tuple((path, sha256_file(path) if path.is_file() else "") for path in paths))


def bank_of(acts: Activations, extra: Sequence[Path | str] = ()) -> LabelBank:
    """The labels of the held-out text that activations were collected on.

    Raises:
        BadInput: the data directory has gone or changed, or as `bank_on`.
    """
    return bank_on(held_out(acts), extra)


@lru_cache(maxsize=2)
def _own(stream: Stream) -> LabelBank:
    """The labels that come with the program."""
    return replace(build_bank(stream, FAMILIES.values()), absent=absent_labels())


@lru_cache(maxsize=4)
def _bank(stream: Stream, extra: tuple[tuple[Path, str], ...]) -> LabelBank:
    bank = _own(stream)
    for path, _ in extra:
        bank = build_bank(stream, extra_families(path), bank)
    return bank
