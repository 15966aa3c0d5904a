"""4.23: in how few dimensions does the residual stream hold who gave, where the answer is the other name?"""

from collections.abc import Sequence

import torch

from analyze.figures import Figure
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.drawing import curves
from analyze.problems.name_task import OwnModel, Size, measure_names
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.data.name_sentences import COUNTRIES, PEOPLE, PLACES, TEMPLATES, THINGS, NameSentences
from train.errors import BadInput
from train.model import Transformer


def measure(subject: Subject) -> Measurement:
    """Share of the dimensions in which two sentences differ that turns 90 % of the logit difference."""
    try:
        sentences = sentences_of(subject)
    except BadInput as failure:
        return Measurement.impossible(str(failure))
    if sentences.longest >= subject.model.config.n_ctx:
        return Measurement.impossible(f"sentences are longer than n_ctx = {subject.model.config.n_ctx}")
    return measure_names(OwnModel(subject.model), sentences, [subject.model.config.n_layers - 1], Size())


def sentences_of(subject: Subject) -> NameSentences:
    """Sentences in the tokens of a subject's vocabulary.

    Raises:
        BadInput: too few names are one token of it.
    """
    if subject.text_source is not None:
        return NameSentences.of_data(subject.text_source.directory)
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({text: i for i, text in enumerate(subject.strings)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return NameSentences.of(tokenizer)


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Share turned against dimensions, with random ones."""
    caption = (
        "How far the answer turns to the other name when the residual stream takes the largest components of its "
        "difference to the sentence that names the other one again (lines), or as many random directions (dotted)."
    )
    return curves(
        ("names", "share of the answer turned against dimensions", caption),
        measured,
        "largest",
        xlabel="dimensions taken from the other sentence",
        ylabel="share of the logit difference turned",
    )


def planted(seed: int) -> Subject:
    """A head carries the subject to the end mostly in 4 of 16 dimensions of its code."""
    return _made_up("planted", seed, few=True)


def null(seed: int) -> Subject:
    """It does so in all alike."""
    return _made_up("all dimensions", seed, few=False)


def _made_up(name: str, seed: int, few: bool) -> Subject:
    names = (*COUNTRIES, *PEOPLE[:20])
    text = " ".join([*TEMPLATES, *PLACES, *THINGS]).replace(",", " , ").replace(".", " . ")
    others = [word for word in text.replace("{", " ").replace("}", " ").split() if word not in ("A", "B", "S", "IO")]
    strings = ("?", *names, *dict.fromkeys(others))
    config = ModelConfig(n_layers=2, d_model=64, n_heads=4, n_ctx=32, d_vocab=len(strings), act="none")
    model = Transformer(config, seed).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.copy_(0.01 * torch.randn(parameter.shape, generator=generator))
    draw = torch.cat([torch.ones(64, 1), torch.randn((64, 63), generator=generator)], 1)
    basis = torch.linalg.qr(draw)[0][:, 1:]
    is_name, late, code, answer, word = basis[:, :50].split([1, 1, 16, 16, 16], 1)
    codes = torch.randn((len(names), 16), generator=generator)
    first, rest = (torch.nn.functional.normalize(each, dim=1) for each in codes.split([4, 12], 1))
    codes = torch.cat([0.5 * first, 0.75**0.5 * rest], 1)
    much = torch.tensor([1.0] * 4 + [0.2 if few else 1.0] * 12)
    own = slice(1, 1 + len(names))
    # Other words are as long, so that LayerNorm treats all alike.
    words = torch.nn.functional.normalize(torch.randn((len(strings), 16), generator=generator), dim=1)
    model.tok_embed.weight += words @ word.T - is_name.T
    model.tok_embed.weight[own] = codes @ code.T + is_name.T
    model.pos.weight += torch.arange(32)[:, None] / 32 * late.T
    # From everywhere head 0.0 attends to the last name so far, and brings its code along.
    attention = model.block(0).attn
    attention.q.bias[0] = 1.0
    attention.k.weight[0] += 40 * (is_name + 4 * late)[:, 0]
    attention.v.weight[:16] += much[:, None] * code.T
    attention.o.weight[:, :16] += 0.5 * answer
    model.head.weight[own] += -4 * (codes * much) @ answer.T
    return Subject(name, name, seed, model, planted_strings=strings)


PROBLEM = Problem(
    name="4.23",
    measure=measure,
    rule=Rule(
        says="yes (few dimensions) if the share of the dimensions in which two sentences differ that turns 90 % of the "
        "logit difference lies at least .3 below that of random directions among them, below 95 % of their draws in "
        "every seed, and the whole interval over seeds lies there; no if the whole interval lies above",
        least=0.3,
        higher=False,
        against_untrained=False,
    ),
    statistic="share of the dimensions in which two sentences differ that turns 90 % of the logit difference of names",
    null="20 draws of random directions among those dimensions, made white first",
    minutes=0.1,
    needs=Needs(layers=2, text=False, strings=True),
    figures=figures,
    trials=Trials(
        planted, null, says="a hand-built head that carries 4 of 16 dimensions of a name; one that carries all"
    ),
    doubts=(
        "Sentences are those of our templates, on which the checkpoints of `names` were trained.",
        "One place before the last layer is looked at, the one that turns more of the answer.",
    ),
    sources=("Wang et al. 2022, arXiv 2211.00593",),
)
