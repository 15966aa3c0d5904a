"""Finished benchmarks that stand on one page with what is measured now (`--also`): opened, and held against it.

All that does not go together is refused before anything is measured, which takes hours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analyze.validation.bench.store import Finished, place_of, read
from train.errors import BadInput
from train.files import manifest_hash, read_manifest


@dataclass(frozen=True)
class Part:
    """A finished benchmark."""

    directory: Path
    """As it was named."""
    hash: str
    """Of its manifest."""
    contestants: Mapping[str, str]
    """Name of a score -> the hash of its code."""
    finished: Finished


def parts_of(
    also: Sequence[Path],
    final: Path,
    half: str,
    hashes: Mapping[str, str],
    contestants: Mapping[str, str],
    corpora: Sequence[str],
    layers: Sequence[int],
) -> list[Part]:
    """Open the parts.

    Args:
        final: where the page will lie.
        half: of the features that are planted now.
        hashes: of code and data, as `Finished` has them.
        contestants: as `Part` has them, of what is measured now.
        corpora, layers: that are planted now.

    Raises:
        BadInput: no finished benchmark, a damaged one, one that is named twice or is the page itself; another half,
            other code, another score or other data of the same name; corpora and layers that two of them have.
    """
    parts: list[Part] = []
    scores, known = dict(contestants), dict(hashes)
    planted = {(corpus, layer): "this command" for corpus in corpora for layer in layers if layer != 2}
    for directory in also:
        if (place := place_of(directory)).resolve() == final.resolve():
            raise BadInput(f"--also: {directory} is what --out writes; name another --out")
        part = Part(directory, manifest_hash(place), read_manifest(place).get("contestants", {}), read(directory))
        twice = next((each.directory for each in parts if each.hash == part.hash), None)
        if twice is not None:
            raise BadInput(f"--also: {twice} and {directory} are the same results; name them once")
        finished = part.finished
        if finished.half != half:
            raise BadInput(f"--also: {directory}: features of half {finished.half!r} beside those of {half!r}")
        for name, hash_ in finished.hashes.items():
            if known.setdefault(name, hash_) == hash_:
                continue
            if name == "code":
                raise BadInput(
                    f"--also: {directory}: was measured by another version of the program (code {hash_[:12]}, "
                    f"now {known[name][:12]}); run it again: what it measured of scores that did not change is kept"
                )
            raise BadInput(f"--also: {directory}: its {name} are other data than those of the same name here")
        for name, key in part.contestants.items():
            if scores.setdefault(name, key) != key:
                raise BadInput(f"--also: {directory}: its score {name!r} is another one than here; run it again")
        for measured in finished.sets:
            at = (measured.facts.corpus, measured.facts.layer)
            if at[1] != 2 and planted.setdefault(at, str(directory)) != str(directory):
                raise BadInput(
                    f"--also: {directory}: layer {at[1]} of {at[0]} is measured by {planted[at]} as well; leave it out "
                    "of one of them"
                )
        parts.append(part)
    return parts
