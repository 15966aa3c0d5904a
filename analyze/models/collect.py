"""`collect hf:...`: the MLP neurons of a model that polysem did not train, and of its architecture untrained."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from analyze.activations.checks import recorded_settings
from analyze.activations.collect import collect_source
from analyze.activations.directory import GATE_HOOKS, ResultDirectory, beside
from analyze.activations.settings import DEFAULT
from analyze.activations.source import SourceFacts
from analyze.activations.store import read_meta
from analyze.models.base import Stack
from analyze.models.forward import Reader
from analyze.models.opened import ModelFiles, OpenedModel, Tokens, config_of, model_files, open_model, tokens_of
from analyze.models.source import LayerValues, Place, chosen_of, write_values
from analyze.models.streaming import Streaming
from train.data.tokens import TokenFile
from train.errors import BadInput, one_line

Say = Callable[[str], None]
CACHE_BYTES = 4_000_000_000
"""Values of several layers on the disk at a time."""
UNTRAINED_NEURONS = 512
"""Neurons of a layer that the untrained null has; only their share of monosemantic ones counts."""


def collect_model(
    name: str,
    data: Path | str,
    out: Path | str,
    *,
    layers: Sequence[int] | None = None,
    hooks: Sequence[str] | None = None,
    max_tokens: int | None = None,
    sample_tokens: int | None = None,
    max_neurons: int | None = None,
    batch: int = 64,
    untrained: bool = True,
    stream: bool = False,
    say: Say = print,
) -> list[Path]:
    """Collect layers and hooks of `hf:...` into `out/<model>/step-000000001/L<layer>.<hook>`.

    Step 0 beside it is the same architecture at transformers' own random initialisation (seed 0), the untrained null;
    where that cannot be made, a line says why. A model of two stacks has a run for each, `<model>-encoder` and
    `<model>-decoder`.

    Args:
        data: prepared data in the tokens of the model.
        hooks: `mid`, what enters W_out; of a gated MLP also `gatepos` and `gateneg`: where the gate is positive, and
            where it is not. Default: `mid`.
        untrained: whether the null is collected too.
        stream: read a T5 layer by layer from its weight files (see `analyze.models.stream`).

    Raises:
        BadInput: no such model, layer or hook; no adapter for it; data in other tokens, or rows longer than it reads.
        EnvironmentProblem: a hub that cannot be reached, too little memory or disk.
    """
    files, hooks = model_files(name), tuple(hooks or ("mid",))
    tokens, config = TokenFile.open(data, split="eval"), config_of(files)
    mapping = tokens_of(files, config, tokens)
    if stream:
        made = []
        for null in (False, True) if untrained else (False,):
            at_most = min(UNTRAINED_NEURONS, max_neurons or UNTRAINED_NEURONS) if null else max_neurons
            streaming = Streaming(files, config, mapping, tokens, Path(out), null)
            made += streaming.collect(layers, hooks, max_tokens, sample_tokens, at_most, batch, say)
        return made
    directories = _collect_one(files, False, mapping, tokens, Path(out), layers, hooks, max_tokens, sample_tokens,
                               max_neurons, batch, say)  # fmt: skip
    if untrained:
        at_most = min(UNTRAINED_NEURONS, max_neurons or UNTRAINED_NEURONS)
        try:
            directories += _collect_one(files, True, mapping, tokens, Path(out), layers, hooks, max_tokens,
                                        sample_tokens, at_most, batch, say)  # fmt: skip
        except (ValueError, NotImplementedError, RuntimeError) as failure:
            say(f"{files.name}: untrained: NA (no random initialisation: {one_line(str(failure), 200)})")
    return directories


def _collect_one(
    files: ModelFiles,
    untrained: bool,
    mapping: Tokens,
    tokens: TokenFile,
    out: Path,
    layers: Sequence[int] | None,
    hooks: tuple[str, ...],
    max_tokens: int | None,
    sample_tokens: int | None,
    max_neurons: int | None,
    batch: int,
    say: Say,
) -> list[Path]:
    opened = open_model(files, untrained)
    _require_short_rows(opened, tokens)
    about, directories = opened.about, []
    for stack in opened.adapter.stacks:
        widths = opened.widths(stack)
        wanted = list(range(len(widths))) if layers is None else list(layers)
        for layer in wanted:
            if not 0 <= layer < len(widths):
                raise BadInput(f"{files.name}: no layer {layer}; it has 0 to {len(widths) - 1}")
        _require_hooks(opened, stack, hooks)
        chosen = chosen_of(widths, wanted, max_neurons)
        facts = {
            (layer, hook): about.facts(
                stack.name, (layer, hook), widths[layer], chosen[layer], max_neurons, mapping, tokens
            )
            for layer in wanted
            for hook in hooks
        }
        targets = {place: ResultDirectory(out, each.run, each.step, *place).path for place, each in facts.items()}
        settings = recorded_settings(tokens, 1, max_tokens, sample_tokens)
        missing = [place for place, target in targets.items() if not _is_there(target)]
        for place, target in targets.items():
            if place not in missing:
                # Checks that it is of the same inputs, and says that it is there.
                source = LayerValues(facts[place], np.zeros((0, tokens.n_ctx, facts[place].n_neurons)), {})
                _collect(source, tokens, target, max_tokens, sample_tokens, batch, say)
        reader = Reader(opened, stack, mapping)
        for group in _groups(missing, facts, settings["n_rows"] * tokens.n_ctx):
            out.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".values-", dir=out))
            try:
                values, index = write_values(reader, tokens, settings["n_rows"], group, chosen, widths, work)
                for place in group:
                    source = LayerValues(facts[place], values.pop(place), index)
                    _collect(source, tokens, targets[place], max_tokens, sample_tokens, batch, say)
                    (work / f"L{place[0]}.{place[1]}").unlink()
            finally:
                shutil.rmtree(work, ignore_errors=True)
        directories += list(targets.values())
    return directories


def _collect(
    source: LayerValues,
    tokens: TokenFile,
    target: Path,
    max_tokens: int | None,
    sample_tokens: int | None,
    batch: int,
    say: Say,
) -> None:
    collect_source(
        source,
        tokens,
        target,
        max_tokens=max_tokens,
        sample_tokens=sample_tokens,
        batch=batch,
        say=say,
        settings=DEFAULT,
    )


def _is_there(target: Path) -> bool:
    """Whether a collection stands there with its sample, so that nothing is to be computed."""
    return (target / "meta.json").is_file() and beside(target, "sample").is_dir() and bool(read_meta(target))


def _groups(places: Sequence[Place], facts: dict[Place, SourceFacts], n_tokens: int) -> list[list[Place]]:
    """Places whose values fit on the disk together, in order."""
    groups: list[list[Place]] = []
    used = CACHE_BYTES + 1
    for place in places:
        size = 4 * n_tokens * facts[place].n_neurons
        if used + size > CACHE_BYTES:
            groups.append([])
            used = 0
        groups[-1].append(place)
        used += size
    return groups


def _require_short_rows(opened: OpenedModel, tokens: TokenFile) -> None:
    most = getattr(opened.config, "max_position_embeddings", None)
    if opened.config.model_type in ("roberta", "camembert", "xlm-roberta") and most:
        most -= 2  # its positions begin behind that of padding
    need = tokens.n_ctx + opened.adapter.masked
    if most is not None and need > most:
        raise BadInput(
            f"{tokens.directory}: rows of {need} tokens, {opened.files.name} reads {most}; prepare with a smaller n_ctx"
        )


def _require_hooks(opened: OpenedModel, stack: Stack, hooks: Sequence[str]) -> None:
    known = ("mid", *(GATE_HOOKS if stack.gate else ()))
    for hook in hooks:
        if hook not in known:
            note = " (its MLPs have no gate)" if hook in GATE_HOOKS else ""
            raise BadInput(f"{opened.files.name}: no hook {hook!r}{note}; it has: {', '.join(known)}")
