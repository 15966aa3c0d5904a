"""Speed of toy training against what torch offers, a plain loop and tms-kit. `python benchmarks/toys.py`

arena     7 instances of the absolute-value model, 100 features, 40 hidden (the run of ARENA's chapter)
replicas  1,000 replicas of a bottleneck, 10 features in 5 dimensions
sweep     100 instances of a bottleneck, 5 features in 2 dimensions, each with a probability of its own

10,000 steps of 1,024 samples each. Contestants do the same task with the same optimiser:
polysem     `train.toys.fit.fit` itself: the time between its steps, and that of its evaluations beside it
autograd, compiled, torch.func, foreach Adam
            all networks at once by what torch offers, with foreach Adam (benchmarks/toy_rivals.py): the gradient and
            the optimiser written by hand are there because they are at least twice as fast where networks are many;
            the last has the gradient written by hand and shows what the optimiser adds
plain loop  one network after the other: a torch.nn module, autograd, torch.optim.Adam, two uniform draws a feature
tms-kit     from the package registry, where it is installed: replicas are instances to it; the absolute-value model
            is written with its base classes, since it has none

They take turns in one process, a window of some steps each, in an order that turns round every time; printed are
medians over windows and medians of ratios within a round, by the clock and by processor time (which a busy machine
disturbs less). The plain loop's windows hold some of its networks and are scaled up to all: they do not meet. Full
runs are extrapolated from windows, polysem's with its evaluations (100 points of the curve and the final loss).
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from benchmarks.toy_rivals import RIVALS, Step  # noqa: E402
from train.toys.config import ToyConfig  # noqa: E402
from train.toys.fit import fit  # noqa: E402

STEPS, BATCH = 10_000, 1024
OURS, PLAIN, KIT = "polysem", "plain loop", "tms-kit"
WARM_UP = 3
"""Steps before a window, not counted."""


@dataclass(frozen=True)
class Setting:
    """A task, and how much of it a window holds."""

    config: ToyConfig
    steps: int
    """Of a window."""
    plain: int
    """Networks in the plain loop's window."""

    @property
    def probabilities(self) -> list[float]:
        """That a feature is active, of each network."""
        rows = [each.features.probabilities()[0] for each in self.config.instances()]
        return [p for p in rows for _ in range(self.config.fit.replicas)]

    @property
    def is_abs(self) -> bool:
        """Whether it is the absolute-value model."""
        return self.config.target.function == "abs"


def setting(steps: int, plain: int, **tables: dict[str, object]) -> Setting:
    """A setting of the tables of a TOY.toml."""
    about = {"title": "speed", "question": "how fast?", "expectation": "", "run_time": ""}
    training = {"steps": STEPS, "batch": BATCH, **tables.pop("fit", {})}
    return Setting(ToyConfig.model_validate({"about": about, "fit": training, **tables}), steps, plain)


SETTINGS = {
    "arena": setting(
        30,
        7,
        features={"n": 100, "importance_decay": 0.8, "values": {"low": -1.0}},
        target={"function": "abs"},
        network={"kind": "computation", "hidden": 40},
        sweep={"probability": [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001]},
        fit={"replicas": 1},
    ),
    "replicas": setting(
        8,
        25,
        features={"n": 10, "probability": 0.1},
        network={"kind": "bottleneck", "hidden": 5},
        fit={"replicas": 1000},
    ),
    "sweep": setting(
        60,
        10,
        features={"n": 5},
        network={"kind": "bottleneck", "hidden": 2},
        sweep={"probability": [0.001 * 1000 ** (i / 99) for i in range(100)]},
        fit={"replicas": 1},
    ),
}

Times = tuple[float, float]
"""Seconds of the clock and of the processor."""


def now() -> Times:
    return time.perf_counter(), time.process_time()


def since(start: Times) -> Times:
    clock, processor = now()
    return clock - start[0], processor - start[1]


@dataclass
class Contestant:
    """One way to train the setting, and seconds a step of all its networks."""

    window: Callable[[], Times]
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """One more window."""
        clock, processor = self.window()
        self.clock.append(clock)
        self.processor.append(processor)


def polysem(task: Setting) -> Contestant:
    """`fit`, timed where it asks whether to stop: before every step."""

    def window() -> Times:
        return timed_fit(task, task.steps, curve_points=2)

    return Contestant(window)


def timed_fit(task: Setting, n_steps: int, curve_points: int) -> Times:
    """Seconds a step of the last `n_steps` steps."""
    total = WARM_UP + n_steps
    short = {"steps": total + 1, "curve_points": curve_points, "eval_samples": 4096}
    config = task.config.model_copy(update={"fit": task.config.fit.model_copy(update=short)})
    asked: list[Times] = []

    def stop() -> bool:
        asked.append(now())
        return False

    fit(config, stop=stop)
    (first_clock, first_processor), (last_clock, last_processor) = asked[WARM_UP], asked[total]
    return (last_clock - first_clock) / n_steps, (last_processor - first_processor) / n_steps


def evaluation(task: Setting) -> Times:
    """Seconds of one evaluation on 4,096 samples: what steps take that have one, less what others take."""
    n_steps = max(4, task.steps // 4)
    each = timed_fit(task, n_steps, curve_points=WARM_UP + n_steps + 2)
    none = timed_fit(task, n_steps, curve_points=2)
    return max(0.0, each[0] - none[0]), max(0.0, each[1] - none[1])


class Bottleneck(nn.Module):
    """relu(W^T W x + b)."""

    def __init__(self, n_features: int, hidden: int):
        super().__init__()
        self.W = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(hidden, n_features), nonlinearity="relu"))
        self.b = nn.Parameter(torch.zeros(n_features))

    def forward(self, x: Tensor) -> Tensor:
        """[batch feat] in and out."""
        return F.relu(x @ self.W.T @ self.W + self.b)


class Computation(nn.Module):
    """relu(W2 relu(W1 x) + b)."""

    def __init__(self, n_features: int, hidden: int):
        super().__init__()
        self.W1, self.W2 = nn.Linear(n_features, hidden, bias=False), nn.Linear(hidden, n_features)

    def forward(self, x: Tensor) -> Tensor:
        """[batch feat] in and out."""
        return F.relu(self.W2(F.relu(self.W1(x))))


def plain_loop(task: Setting) -> Contestant:
    """One network after the other, as one writes it down."""
    features, hidden = task.config.features, task.config.network.hidden[0]
    module = Computation if task.is_abs else Bottleneck
    networks = [module(features.n, hidden) for _ in range(task.plain)]
    optimizers = [torch.optim.Adam(each.parameters(), lr=task.config.fit.lr) for each in networks]
    importance = torch.tensor(features.importances())
    probabilities = task.probabilities

    def window() -> Times:
        start = now()
        for i, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
            probability = probabilities[i * len(probabilities) // task.plain]
            for _ in range(task.steps):
                value = torch.rand(BATCH, features.n)
                if task.is_abs:
                    value = 2 * value - 1
                x = torch.where(torch.rand(BATCH, features.n) <= probability, value, 0.0)
                wanted = x.abs() if task.is_abs else x
                loss = (importance * (wanted - network(x)) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        clock, processor = since(start)
        scale = len(probabilities) / task.plain / task.steps
        return clock * scale, processor * scale

    return Contestant(window)


def rival(task: Setting, make: Callable[[ToyConfig], Step]) -> Contestant:
    """One of `benchmarks.toy_rivals`."""
    step, done = make(task.config), 0

    def window() -> Times:
        nonlocal done
        start = now()
        for _ in range(task.steps):
            step(done)
            done += 1
        clock, processor = since(start)
        return clock / task.steps, processor / task.steps

    return Contestant(window)


def tms_kit(task: Setting) -> Contestant:
    """tms-kit's own loop over its own stacked model, every network an instance."""
    from tms_kit.data import IIDFeatureGenerator  # pyright: ignore[reportMissingImports]
    from tms_kit.loss import ImportanceWeightedLoss  # pyright: ignore[reportMissingImports]
    from tms_kit.model import Model  # pyright: ignore[reportMissingImports]
    from tms_kit.optimize import optimize  # pyright: ignore[reportMissingImports]
    from tms_kit.tms import TMS  # pyright: ignore[reportMissingImports]

    class AbsModel(Model):
        def __init__(self, n_features: int, n_inst: int, d_hidden: int, device: str | None = None):
            super().__init__(n_features, n_inst, d_hidden, device)
            self.W2 = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_inst, n_features, d_hidden)))

        def forward(self, features: Tensor) -> Tensor:
            hidden = torch.einsum("bif,ihf->bih", features, self.W).relu()
            return (torch.einsum("bih,ifh->bif", hidden, self.W2) + self.b_final).relu()

    class Signed(IIDFeatureGenerator):
        def generate_batch(self, batch_size: int) -> Tensor:
            shape = (batch_size, self.n_inst, self.n_features)
            return torch.where(torch.rand(shape) <= self.feature_probability, 2 * torch.rand(shape) - 1, 0.0)

    class AbsLoss(ImportanceWeightedLoss):
        def calculate_loss(self, pred: Tensor, target: Tensor) -> Tensor:
            return super().calculate_loss(pred, target.abs())

    class Bundle(TMS):
        def __init__(self) -> None:
            n, count = task.config.features.n, len(task.probabilities)
            hidden, p = task.config.network.hidden[0], torch.tensor(task.probabilities)[:, None]
            self.model = (AbsModel if task.is_abs else Model)(n, count, hidden, "cpu")
            self.data_gen = (Signed if task.is_abs else IIDFeatureGenerator)(n, count, p)
            importance = torch.tensor(task.config.features.importances())
            self.loss_calc = (AbsLoss if task.is_abs else ImportanceWeightedLoss)(n, importance)

    bundle = Bundle()

    def window() -> Times:
        start = now()
        optimize(bundle, disable_tqdm=True, batch_size=BATCH, steps=task.steps, lr=task.config.fit.lr)
        clock, processor = since(start)
        return clock / task.steps, processor / task.steps

    return Contestant(window)


def race(name: str, task: Setting, windows: int, rivals: list[str], others: bool) -> dict[str, object]:
    """Let all contestants train one setting, print its table, return its figures."""
    contestants = {OURS: polysem(task), **{name: rival(task, RIVALS[name]) for name in rivals}}
    if others:
        contestants[PLAIN] = plain_loop(task)
    if others and importlib.util.find_spec("tms_kit"):
        contestants[KIT] = tms_kit(task)
    for each in contestants.values():
        each.window()
    for index in range(windows):
        for each in list(contestants.values())[:: -1 if index % 2 else 1]:
            each.turn()
    clock, processor = (statistics.median(times) for times in zip(*(evaluation(task) for _ in range(3)), strict=True))
    points = task.config.fit.curve_points + task.config.fit.eval_samples / 4096
    print(
        f"\n{name}: {len(task.probabilities):,} networks, {windows} windows of {task.steps} steps, "
        f"{torch.get_num_threads()} thread(s); the plain loop timed on {task.plain} networks"
    )
    print("| | ms a step | processor ms | 10,000 steps, s | polysem is x as fast | by processor time |")
    print("|---|---|---|---|---|---|")
    figures: dict[str, object] = {}
    for label, each in contestants.items():
        step, used = statistics.median(each.clock), statistics.median(each.processor)
        whole = STEPS * step + (points * clock if label == OURS else 0)
        row = {
            "seconds_per_step": step,
            "processor_seconds_per_step": used,
            "run_seconds": whole,
            "ratio": ratio(each.clock, contestants[OURS].clock),
            "processor_ratio": ratio(each.processor, contestants[OURS].processor),
        }
        figures[label] = row
        print(
            f"| {label} | {1e3 * step:.2f} | {1e3 * used:.2f} | {whole:,.0f} "
            f"| {row['ratio']:.1f} | {row['processor_ratio']:.1f} |"
        )
    if others and KIT not in contestants:
        print(f"| {KIT} | not installed | | | | |")
    share = points * processor / (STEPS * statistics.median(contestants[OURS].processor))
    print(f"evaluations: {1e3 * processor:.1f} processor ms each, {share:.1%} on top of 10,000 steps", flush=True)
    return {"contestants": figures, "evaluation_seconds": clock, "evaluation_share": share}


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Median over rounds of how many times as fast."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=tuple(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--rivals", nargs="*", choices=tuple(RIVALS), default=list(RIVALS))
    parser.add_argument("--rivals-only", action="store_true", help="leave out the plain loop and tms-kit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    others = not args.rivals_only
    figures = {name: race(name, SETTINGS[name], args.windows, args.rivals, others) for name in args.settings}
    if args.json:
        facts = {"threads": args.threads, "windows": args.windows, "torch": torch.__version__, "settings": figures}
        args.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
