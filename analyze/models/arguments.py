"""The arguments of `analyze collect`: a checkpoint of polysem, or a model that others trained."""

from dataclasses import dataclass

from analyze.activations import arguments
from train.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Collect(arguments.Collect):
    """Stream held-out text through a model and keep what its neurons did, a directory for each layer and hook.

    The model is a checkpoint of polysem, one in TransformerLens' legacy format (tl:NAME_OR_DIR), or any causal or
    masked model that transformers opens (hf:NAME_OR_DIR or hf:FILE.gguf; docs/imported-models.md lists which).
    """

    untrained: bool = True
    """hf: collect the same architecture at random initialisation as well, as step 0: the untrained null"""
    stream: bool = False
    """hf: read the weights layer by layer (T5), for models that memory does not hold"""

    def run(self, overrides: list[str]) -> None:
        """Collect, and print where each layer and hook lies."""
        from analyze.models.opened import is_foreign

        if not is_foreign(str(self.checkpoint)):
            if self.stream:
                raise BadInput("--stream: only models that polysem did not train are read so")
            super().run(overrides)
            return
        from analyze.models.collect import collect_model

        for directory in collect_model(
            str(self.checkpoint),
            self.data,
            self.out,
            layers=self.layers,
            hooks=self.hooks,
            max_tokens=self.max_tokens,
            sample_tokens=self.sample_tokens,
            max_neurons=self.max_neurons,
            batch=self.batch,
            untrained=self.untrained,
            stream=self.stream,
        ):
            print(directory)
