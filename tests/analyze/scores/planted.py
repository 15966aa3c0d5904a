"""Neurons whose meaning is known: sums of k features of real text, most of which no rule states."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from analyze.text.vocabulary import Vocabulary

LISTS = (
    "January February March April May June July August September October November December",
    "red blue green black white yellow brown golden",
    "one two three four five six seven eight nine ten",
    "he she they him her them his their",
    "is was are were be been",
    "in on at from with by for into",
    "north south east west northern southern eastern western",
    "France Germany Italy Spain China Japan India Russia England",
    "king queen emperor president prime prince",
    "film music novel book song play theatre album",
    "river lake sea ocean island mountain bay",
    "chemical acid energy cell species protein",
    "war army battle military forces troops",
    "may can could would should must will",
    "first second third last early late",
    "if else for while return raise with",
    "True False None self def class",
    "mother father son daughter brother wife",
    "city town village capital county district",
    "and or but nor yet",
)
BIAS = 0.3
BIGRAMS = ["of the", "in the", "is a", "to the", "such as", "one of", "and the", "from the", "as a", "the world"]


@dataclass(frozen=True)
class Planted:
    """Activations [t n] in memory, and how many features each neuron was made of."""

    values: Float[torch.Tensor, "t n"]
    k: Int[np.ndarray, "n"]


def features(
    ids: Int[np.ndarray, "s"], document: Int[np.ndarray, "s"], vocabulary: Vocabulary, rng: np.random.Generator
) -> dict[str, Bool[np.ndarray, "s"]]:
    """Sets of tokens of a stream, each about one thing.

    Families that no rule states: word lists (current, and previous token), two tokens in a row, the token two
    back, a word lately seen, first letters, digits by their place in a number. Families that one does: single
    tokens (current, previous), classes. Those on less than one token in 500 are left out.
    """
    folded = np.array([form or "" for form in vocabulary.folded])
    word = folded[ids]
    found: dict[str, np.ndarray] = {}

    def back(inside: np.ndarray, n: int) -> np.ndarray:
        moved = np.zeros_like(inside)
        moved[n:] = inside[:-n] & (document[n:] == document[:-n])
        return moved

    for line in LISTS:
        inside = np.isin(word, line.lower().split())
        found[f"list {line}"] = inside
        found[f"after list {line}"] = back(inside, 1)
    for pair in BIGRAMS:
        first, second = pair.split()
        found[f"bigram {pair}"] = back(word == first, 1) & (word == second)
    counts = np.bincount(ids, minlength=len(vocabulary))
    frequent = [t for t in np.argsort(-counts)[5:400] if vocabulary.folded[t]]
    for token in rng.choice(frequent, 12, replace=False).tolist():
        found[f"token {token}"] = ids == token
        found[f"after token {token}"] = back(ids == token, 1)
    for token in rng.choice(frequent[:20], 6, replace=False).tolist():
        found[f"two back {token}"] = back(ids == token, 2)
    for token in rng.choice(frequent[40:], 6, replace=False).tolist():
        found[f"lately {token}"] = np.any([back(ids == token, n) for n in range(1, 9)], axis=0)
    for letters in ("b", "g", "h", "v", "w", "ex", "con", "un", "pr"):
        found[f"begins with {letters}"] = np.array([form.startswith(letters) for form in folded])[ids]
    digit = np.array([form.isdigit() for form in folded])[ids]
    found["third digit and on"] = digit & back(digit, 1) & back(digit, 2)
    found["first digit"] = digit & ~back(digit, 1)
    for name in ("a capitalised word", "digits", "a word in -ing", "a word in -ed", "a comma", "a newline"):
        found[name] = vocabulary.classes[name][ids]
    return {name: inside for name, inside in found.items() if (inside & (document >= 0)).mean() >= 0.002}


def plant(
    bank: dict[str, Bool[np.ndarray, "t"]], k: list[int], rng: np.random.Generator, noise: float = 0.2
) -> Planted:
    """One neuron for each entry of `k`: max(sum of k unlike features + noise - BIAS, 0), sd `noise`."""
    names = list(bank)
    columns = []
    for size in k:
        chosen: list[str] = []
        while len(chosen) < size:
            name = names[int(rng.integers(len(names)))]
            if all(bank[name][bank[other]].mean() < 0.2 for other in chosen):
                chosen.append(name)
        total = np.sum([bank[name] for name in chosen], axis=0).astype(np.float32)
        columns.append(np.maximum(total + noise * rng.standard_normal(len(total)).astype(np.float32) - BIAS, 0))
    return Planted(torch.from_numpy(np.stack(columns, axis=1)), np.array(k))
