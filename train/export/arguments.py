"""The arguments of `train export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from train.commandline import Command
from train.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Write a checkpoint in another format: for transformers, TransformerLens, a hub, or as activations.

    hf: a directory that AutoModelForCausalLM.from_pretrained opens with equal logits; relu, gelu and gelu_new of one
    width are plain GPT-2, the others need trust_remote_code=True. tl-legacy: config.json, model_final.pth and the
    tokenizer, as the published checkpoints of TransformerLens have them; load("tl:DIR") opens it. hub: as hf, with the
    checkpoint itself, its results and a model card that credits the text; load("hf:user/name") opens it again.
    activations: shuffled shards of one hook that datasets.load_from_disk opens. See docs/export.md.
    """

    checkpoint: Positional[Path]
    """a run (its newest step), a step directory, hf:user/name or tl:NAME_OR_DIR"""
    format: Literal["hf", "tl-legacy", "hub", "activations"]
    """what to write"""
    out: Path
    """directory to write"""
    data: Path | None = None
    """hub, activations: the prepared data; default: where the checkpoint's own are found"""
    results: Path | None = None
    """hub: a directory with scores of this checkpoint at any depth, such as results/smoke"""
    push: str | None = None
    """hub: user/name on the hub to upload to"""
    private: bool = False
    """hub: make the repository a private one"""
    hook: str | None = None
    """activations: a hook by TransformerLens' name, such as blocks.0.mlp.hook_post"""
    tokens: int = 1_000_000
    """activations: tokens at most; BOS is left out"""
    split: Literal["fit", "eval"] = "fit"
    """activations: of which text"""
    seed: int = 0
    """activations: of the shuffle"""

    def run(self, overrides: list[str]) -> None:
        """Export, and print where to."""
        from train.export.activations import ActivationSettings
        from train.export.command import export_activations, export_hf, export_hub, export_tl_legacy

        self._refuse_what_does_not_fit()
        source = str(self.checkpoint)
        match self.format:
            case "hf":
                print(export_hf(source, self.out))
            case "tl-legacy":
                print(export_tl_legacy(source, self.out))
            case "hub":
                line = export_hub(
                    source, self.out, data=self.data, results=self.results, to=self.push, private=self.private
                )
                print(line)
            case "activations":
                if self.hook is None:
                    raise BadInput("--hook: --format activations needs one, such as blocks.0.mlp.hook_post")
                settings = ActivationSettings(self.hook, self.tokens, self.seed, self.split)
                print(export_activations(source, self.out, settings, self.data))

    def _refuse_what_does_not_fit(self) -> None:
        hub = {"--results": self.results, "--push": self.push, "--private": self.private or None}
        given = hub | {"--hook": self.hook, "--data": self.data}
        takes = {"hf": set(), "tl-legacy": set(), "hub": {*hub, "--data"}, "activations": {"--hook", "--data"}}[
            self.format
        ]
        for option, value in given.items():
            if value is not None and option not in takes:
                raise BadInput(f"{option}: --format {self.format} does not take it")
        if self.seed < 0 or self.tokens < 1:
            raise BadInput("--seed must be 0 or more, --tokens 1 or more")
