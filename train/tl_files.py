"""Where checkpoints in TransformerLens' legacy format lie: a local directory, or a published one by its short name.

Such a directory holds `config.json`, weights in a file that ends in `final.pth`, and a tokenizer.json. `tl:gelu-1l` is
a published one, `tl:DIR` and a bare DIR a local one, for which no hub is asked.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.errors import BadInput, did_you_mean
from train.files import read_json
from train.hub_errors import hub_errors
from train.textfiles import with_home

PREFIX = "tl:"
CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
WEIGHTS = "model_final.pth"
ENDING = "final.pth"
MAX_CONFIG_BYTES = 2**20

PUBLISHED = {
    **{f"gelu-{n}l": f"NeelNanda/GELU_{n}L512W_C4_Code" for n in (1, 2, 3, 4)},
    **{f"solu-{n}l": f"NeelNanda/SoLU_{n}L512W_C4_Code" for n in (1, 2, 3, 4)},
    "solu-6l": "NeelNanda/SoLU_6L768W_C4_Code",
    "solu-8l": "NeelNanda/SoLU_8L1024W_C4_Code",
    "solu-10l": "NeelNanda/SoLU_10L1280W_C4_Code",
    "solu-12l": "NeelNanda/SoLU_12L1536W_C4_Code",
    "solu-1l-wiki": "NeelNanda/SoLU_1L512W_Wiki_Finetune",
    "solu-4l-wiki": "NeelNanda/SoLU_4L512W_Wiki_Finetune",
}
"""Short name, as in TransformerLens, to the repository on the hub."""


@dataclass(frozen=True)
class LegacyFiles:
    """The files of one checkpoint."""

    name: str
    """What a run that starts from it is called after."""
    config: Path
    weights: Path
    tokenizer: Path

    def values(self) -> dict[str, Any]:
        """The config as it stands.

        Raises:
            BadInput: not a JSON object.
        """
        values = read_json(self.config, MAX_CONFIG_BYTES)
        if not isinstance(values, dict):
            raise BadInput(f"{self.config}: not a JSON object")
        return values


def is_legacy(directory: Path) -> bool:
    """Whether a directory is a checkpoint in the legacy format; no other has a config and such weights."""
    return (directory / CONFIG).is_file() and any(directory.glob(f"*{ENDING}"))


def legacy_files(name: str) -> LegacyFiles:
    """The files of `tl:<name>`: of a local directory, or fetched from the hub into its cache.

    Raises:
        BadInput: neither a directory nor a published name, or a file that is missing.
        EnvironmentProblem: the hub cannot be reached and the cache does not have them.
    """
    directory = Path(with_home(name))
    if name and directory.is_dir():
        return _local(directory)
    if name not in PUBLISHED:
        hint = did_you_mean(name, [*PUBLISHED])
        raise BadInput(f"{PREFIX}{name}: neither a directory nor a published name{hint}")
    return _published(name)


def _local(directory: Path) -> LegacyFiles:
    for needed in (CONFIG, TOKENIZER):
        if not (directory / needed).is_file():
            what = ""
            if needed == TOKENIZER and (directory / CONFIG).is_file():
                named = read_json(directory / CONFIG, MAX_CONFIG_BYTES)
                named = named.get("tokenizer_name") if isinstance(named, dict) else None
                what = f"; put that of {named} there" if named else "; put the tokenizer that it was trained with there"
            raise BadInput(f"{directory / needed}: missing{what}")
    weights = sorted(directory.glob(f"*{ENDING}"))
    if len(weights) != 1:
        said = "missing" if not weights else f"one of {len(weights)} files of weights ({weights[1].name}); leave one"
        raise BadInput(f"{weights[0] if weights else directory / WEIGHTS}: {said}")
    return LegacyFiles(directory.resolve().name, directory / CONFIG, weights[0], directory / TOKENIZER)


def _published(name: str) -> LegacyFiles:
    from huggingface_hub import hf_hub_download

    repository, where = PUBLISHED[name], f"{PREFIX}{name}"
    then = f"a directory with {CONFIG}, {WEIGHTS} and {TOKENIZER} does as well"
    with hub_errors(where, repository, then=then):
        config, weights = (Path(hf_hub_download(repository, file)) for file in (CONFIG, WEIGHTS))
    values = read_json(config, MAX_CONFIG_BYTES)
    tokenizer = values.get("tokenizer_name") if isinstance(values, dict) else None
    if not isinstance(tokenizer, str):
        raise BadInput(f"{where}: its config names no tokenizer (key 'tokenizer_name')")
    with hub_errors(where, tokenizer, then=then):
        return LegacyFiles(name, config, weights, Path(hf_hub_download(tokenizer, TOKENIZER)))
