"""A small study made by hand: the files that `prepare`, `collect` and `score` would leave."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from analyze.activations.directory import beside
from analyze.activations.sample import SAMPLE_FILE, MemorySample, SampleWriter
from analyze.activations.store import (
    FORMAT_VERSION,
    Activations,
    ActivationsMeta,
    Moments,
    TokenSample,
    write_activations,
)
from analyze.scores.k_eff import MONO
from analyze.scores.store import write_scores
from tests.analyze.data import seal_data
from train.files import manifest_hash, publishing

N_CTX = 32
NAMES = "river city year war king music film team station album county football school island museum history"
WORDS = f"the of and in to was is for from after before {NAMES} return self def import".split(" ")
HOSTILE = "<script>alert('in token text')</script> \u202eevil bidi\u2066 & <img src=x onerror=1> 🙂 日本\n"


def write_data(directory: Path, n_documents: int = 60, hostile: bool = True) -> Path:
    """A data directory of made-up sentences, the same in both splits, in tokens of a byte-level BPE."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    rng = np.random.default_rng(0)
    texts = []
    for index in range(n_documents):
        words = list(rng.choice(WORDS, 70))
        text = " ".join(words[:30]).capitalize() + ".\n" + " ".join(words[30:]) + f" ({1900 + index}).\n"
        texts.append(text + HOSTILE if hostile and index % 3 == 0 else text)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|bos|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Trained on the harmless words alone, so that the hostile text is cut into bytes and fragments.
    tokenizer.train_from_iterator([text.split("\n")[0] for text in texts], trainer)
    stream: list[int] = []
    rows = []
    for index, text in enumerate(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append(
            {
                "split": "eval",
                "index": index,
                "source": "made-up",
                "topic": None,
                "path_or_title": "<b>Title</b>" if hostile else f"Title {index}",
                "start": len(stream),
                "length": len(ids),
                "n_chars": len(text),
                "sha256": "0" * 64,
            }
        )
        stream += [*ids, 0]
    documents = pl.DataFrame(rows, schema_overrides={"topic": pl.String})
    tokens = {"fit": stream, "eval": stream}
    return seal_data(directory, tokens, documents, tokenizer.get_vocab_size(), N_CTX, tokenizer.to_str())


def sampled_tokens(data: Path) -> TokenSample:
    """Every held-out token but the separators."""
    documents = pl.read_parquet(data / "documents.parquet")
    stream = np.fromfile(data / "tokens-eval.bin", dtype="<u2").astype(np.int64)
    document = np.full(stream.size, -1, dtype=np.int64)
    for index, (start, length) in enumerate(zip(documents["start"], documents["length"])):
        document[start : start + length] = index
    at = np.flatnonzero(document >= 0)
    at = at[at < stream.size // N_CTX * N_CTX]
    return TokenSample(
        ids=stream[at],
        previous=np.where(at % N_CTX == 0, 0, stream[at - 1]),
        document=document[at],
        position=at % N_CTX + 1,
        stream_position=at,
        is_fit=document[at] % 2 == 0,
    )


def made_up_scores(n: int, k_eff: np.ndarray, rng: np.random.Generator, null: str = "none") -> pl.DataFrame:
    """A scores.parquet: the first twentieth dead, the next rare, the rest with the given K_eff (NaN: NA)."""
    status = np.zeros(n, dtype=np.int64)
    status[: n // 20], status[n // 20 : n // 10] = 1, 2
    reach = np.clip(rng.normal(0.4, 0.2, n), 0.06, 1)
    judged = (status == 0) & np.isfinite(k_eff)
    reach[~np.isfinite(k_eff)] = 0.02
    share = np.clip(1.1 - k_eff / 5, 0, 1)
    known = [bool(one) for one in judged]

    def column(values: np.ndarray, when: list[bool] | np.ndarray = known) -> list[Any]:
        return [value if ok else None for value, ok in zip(values.tolist(), when)]

    mono = k_eff <= MONO
    frame: dict[str, Any] = {
        "neuron": np.arange(n),
        "null": [null] * n,
        "status": status,
        "dense": rng.random(n) < 0.1,
        "always_on": rng.random(n) < 0.02,
        "firing_rate": rng.random(n) * 0.2,
        "duplicate_cluster": np.arange(n),
        "k_eff": column(k_eff),
        "k_eff_score": column(1 / k_eff),
        "k_eff_mono": column(mono),
        "reach": column(reach, status == 0),
        "single_token": column(mono & (rng.random(n) < 0.3)),
        "rule_share": column(share),
        "rule_share_rule": column(np.array(["the token is ` river`"] * n)),
        "rule_share_base_rate": column(np.full(n, 0.01)),
        "rule_share_mono": column(share > 0.8),
    }
    for rank in range(1, 5):
        rule = "the token is ` city` or ` <script>`" if rank == 1 else f"after `{WORDS[rank]}` (rule {rank})"
        gain = reach * np.where(rank <= np.maximum(k_eff, 1), 1 / np.maximum(k_eff, 1), 0)
        frame[f"rule_{rank}"] = column(np.array([rule] * n))
        frame[f"gain_{rank}"] = column(gain)
    return pl.DataFrame(frame)


def meta_of(data: Path, tokens: TokenSample, variant: str, seed: int, step: int, **over: Any) -> ActivationsMeta:
    """Believable facts about a run; `over` replaces any of them."""
    facts: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "run": f"{variant}-s{seed}",
        "variant": variant,
        "seed": seed,
        "step": step,
        "tokens_seen": step * 4096,
        "layer": 0,
        "hook": "mid",
        "act": "gelu_new",
        "n_neurons": 40,
        "n_params": 150_000,
        "factor": 1,
        "start_run": None,
        "root_variant": variant,
        "eval_loss": 6.9 if step == 0 else 4.3 + 0.01 * seed,
        "unigram_loss": 6.87,
        "bigram_loss": 4.74,
        "checkpoint_hash": f"{variant}-{seed}-{step}",
        "checkpoint_dir": f"checkpoints/{variant}-s{seed}/step-{step:09d}",
        "data_hash": manifest_hash(data),
        "data_dir": str(data),
        "n_ctx": N_CTX,
        "n_tokens": len(tokens),
        "n_sampled_tokens": len(tokens),
        "n_documents": 60,
        "quantiles": "all tokens",
        "sample_hash": None,
        "settings": {},
    }
    facts |= over
    identity = {
        "run_hash": f"run of {facts['variant']}, seed {facts['seed']}",
        "start_hash": facts["start_run"] and f"the last step of {facts['start_run']}",
        "root_hash": f"run of {facts['root_variant']}, seed {facts['seed']}",
        "train_data_hash": facts["data_hash"],
    }
    return ActivationsMeta(**(identity | facts))


def write_cell(
    results: Path, tokens: TokenSample, meta: ActivationsMeta, scores: pl.DataFrame, with_sample: bool = False
) -> Path:
    """Seal activations (few and made up) and `scores` beside them; returns the activations directory."""
    n, rng = meta.n_neurons, np.random.default_rng(meta.seed)
    step = results / meta.run / f"step-{meta.step:09d}"
    directory = step / f"L{meta.layer}.{meta.hook}"
    values = rng.exponential(0.05, (len(tokens), n)).astype(np.float32)
    for neuron in range(n):
        values[np.isin(tokens.ids, rng.choice(np.unique(tokens.ids), 3)), neuron] += 1 + rng.random()
    held = torch.from_numpy(values).to(torch.bfloat16).to(torch.float32)
    sample_hash = None
    if with_sample:
        with (
            publishing(beside(directory, "sample"), {"kind": "sample"}) as aside,
            SampleWriter(aside / SAMPLE_FILE, len(tokens), n) as writer,
        ):
            writer.append(held)
        sample_hash = manifest_hash(beside(directory, "sample"))
    full = dict.fromkeys(("mean", "sd", "minimum", "maximum", "median", "p01", "p9999"), values.mean(0).astype(float))
    moments = Moments(
        n_tokens=np.full(n, len(tokens)),
        **full,
        threshold=0.1 * values.max(0).astype(float),
        firing_rate=(values > 0.1 * values.max(0)).mean(0),
        n_documents_fired=np.full(n, 60),
        status=np.zeros(n, dtype=np.int64),
        dense=np.zeros(n, dtype=bool),
        always_on=np.zeros(n, dtype=bool),
    )
    acts = Activations(
        ActivationsMeta(**(meta.__dict__ | {"sample_hash": sample_hash})),
        tokens,
        moments,
        # Of an untrained network no example is ever shown.
        top_examples(tokens, held.numpy()[:, : None if meta.step else 1]),
        MemorySample(held),
    )
    write_activations(acts, directory)
    write_scores(directory, scores, {}, 1.0)
    return directory


def top_examples(tokens: TokenSample, values: np.ndarray) -> pl.DataFrame:
    """The 20 strongest of each neuron and half, at most one a document."""
    frames = []
    for neuron in range(values.shape[1]):
        order = np.argsort(-values[:, neuron], kind="stable")[:600]
        for half, wanted in (("fit", True), ("eval", False)):
            within = order[tokens.is_fit[order] == wanted]
            _, first = np.unique(tokens.document[within], return_index=True)
            best = within[np.sort(first)[:20]]
            frames.append(
                pl.DataFrame(
                    {
                        "neuron": np.full(best.size, neuron),
                        "half": [half] * best.size,
                        "rank": np.arange(best.size),
                        "document": tokens.document[best],
                        "stream_position": tokens.stream_position[best],
                        "position": tokens.position[best],
                        "activation": values[best, neuron].astype(np.float64),
                    }
                )
            )
    return pl.concat(frames)


def write_metrics(results: Path, run: str, seed: int, first: float, last: float) -> None:
    """A metrics.jsonl whose losses fall from `first` to `last`."""
    rng, lines, steps = np.random.default_rng(seed), [], 500
    for step in range(0, steps + 1, 10):
        loss = last + (first - last) * np.exp(-5 * step / steps)
        noise = float(rng.normal(0, 0.05))
        lines.append({"kind": "train", "step": step, "tokens": step * 4096, "loss": float(loss) + noise})
        if step % 100 == 0:
            facts = {"kind": "eval", "step": step, "tokens": step * 4096, "loss": float(loss)}
            lines.append(facts | {"n_tokens": 65280, "unigram": 6.87, "bigram": 4.74})
    (results / run).mkdir(parents=True, exist_ok=True)
    (results / run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def k_eff_of(n: int, rng: np.random.Generator, mono: float) -> np.ndarray:
    """K_eff of n neurons, about the share `mono` of them at 1 to MONO, a tenth NaN."""
    values = np.where(rng.random(n) < mono, rng.uniform(1, MONO, n), rng.uniform(MONO + 0.01, 4, n))
    return np.where(rng.random(n) < 0.1, np.nan, values)


def write_study(root: Path, seeds: tuple[int, ...] = (0, 1), n: int = 20, with_sample: bool = True) -> Path:
    """A results directory: relu, gelu_new, solu_ln (mid and post), relu at 10 n, three arms of gelu."""
    data = write_data(root / "data", n_documents=44)
    tokens, results = sampled_tokens(data), root / "results" / "made-up"
    scratch = {"relu": ("relu", n, 0.3), "gelu": ("gelu_new", n, 0.1), "solu": ("solu_ln", n, 0.2)}
    scratch["relu-100x"] = ("relu", 10 * n, 0.4)
    arms = {"gelu-continued": (1, 0.11), "gelu-copies": (10, 0.1), "gelu-x10": (10, 0.16)}
    for seed in seeds:
        for index, (variant, (act, width, mono)) in enumerate(scratch.items()):
            rng = np.random.default_rng([seed, index])
            for step, share in ((0, 0.01), (500, mono)):
                for hook in ("mid", "post") if act == "solu_ln" else ("mid",):
                    scores = pl.concat(
                        [
                            made_up_scores(width, k_eff_of(width, rng, share), rng),
                            made_up_scores(n, k_eff_of(n, rng, share / 5), rng, "rotated"),
                        ]
                    )
                    meta = meta_of(
                        data, tokens, variant, seed, step, act=act, n_neurons=width, hook=hook, n_params=2000 * width
                    )
                    write_cell(results, tokens, meta, scores, with_sample and step > 0)
            write_metrics(results, f"{variant}-s{seed}", seed, 8.3, 4.3 + 0.05 * index)
        for index, (variant, (factor, mono)) in enumerate(arms.items()):
            rng = np.random.default_rng([seed, 100 + index])
            width = n * factor
            scores = made_up_scores(width, k_eff_of(width, rng, mono), rng)
            if variant == "gelu-copies":
                scores = scores.with_columns(duplicate_cluster=pl.col("neuron") // factor)
            rotated = made_up_scores(n, k_eff_of(n, rng, mono / 5), rng, "rotated")
            meta = meta_of(
                data,
                tokens,
                variant,
                seed,
                500,
                n_neurons=width,
                factor=factor,
                start_run=f"checkpoints/made-up/gelu-s{seed}",
                root_variant="gelu",
                n_params=2000 * width,
                eval_loss=4.2 + 0.01 * index,
            )
            write_cell(results, tokens, meta, pl.concat([scores, rotated]), with_sample)
            write_metrics(results, f"{variant}-s{seed}", seed, 4.35, 4.2 + 0.01 * index)
    return results
