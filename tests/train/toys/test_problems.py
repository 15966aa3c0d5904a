"""Open problems 4.1 to 4.14 and 4.16, each as a config and no code: it is read, sampled, compared and trained."""

import math
from pathlib import Path

import pytest
import torch

from train.configfile import load_config
from train.toys.baseline import naive_loss
from train.toys.config import ToyConfig
from train.toys.distributions import Sampler
from train.toys.fit import fit
from train.toys.targets import Target

SIGNED = "[features.values]\nlow = -1.0\n"
ONE = '[features.values]\nkind = "choice"\nchoices = [1.0]\n'
SMALL = '[network]\nkind = "computation"\nhidden = 6\n'
BOTTLENECK = '[network]\nkind = "bottleneck"\nhidden = 2\n'

PROBLEMS = {
    "4.1 dropout": """
        [features]
        n = 6
        probability = 0.2
        [network]
        kind = "neuron"
        hidden = 4
        [sweep]
        dropout = [0.0, 0.2, 0.5]
    """,
    "4.2 absolute value, importance, correlation": f"""
        [features]
        n = 8
        probability = 0.2
        importance_decay = 0.8
        pairs = "correlated"
        {SIGNED}
        [target]
        function = "abs"
        {SMALL}
        [sweep]
        importance_decay = [1.0, 0.8]
    """,
    "4.2 absolute value, anticorrelated": f"""
        [features]
        n = 8
        pairs = "anticorrelated"
        probability = 0.1
        {SIGNED}
        [target]
        function = "abs"
        {SMALL}
        [sweep]
        probability = [0.05, 0.3]
    """,
    "4.3 squares": f"""
        [features]
        n = 8
        probability = 0.2
        {SIGNED}
        [target]
        function = "square"
        {SMALL}
    """,
    "4.4 two classes of sparsity": f"""
        [features]
        n = 10
        classes = [
            {{ count = 4, probability = 0.3 }},
            {{ count = 6, probability = 0.01, importance = 5.0 }},
        ]
        {BOTTLENECK}
    """,
    "4.5 AND": f"""
        [features]
        n = 6
        probability = 0.4
        {ONE}
        [target]
        function = "and"
        {SMALL}
    """,
    "4.5 OR": f"""
        [features]
        n = 6
        probability = 0.4
        {ONE}
        [target]
        function = "or"
        {SMALL}
    """,
    "4.5 XOR of all pairs": f"""
        [features]
        n = 4
        probability = 0.4
        {ONE}
        [target]
        function = "xor"
        pairs = "all"
        {SMALL}
    """,
    "4.6 maxima": f"""
        [features]
        n = 6
        probability = 0.3
        [target]
        function = "max"
        {SMALL}
    """,
    "4.7 features that are on or off": f"""
        [features]
        n = 5
        probability = 0.1
        {ONE}
        {BOTTLENECK}
    """,
    "4.8 features of three values": f"""
        [features]
        n = 5
        probability = 0.1
        [features.values]
        kind = "choice"
        choices = [1.0, 2.0, 3.0]
        {BOTTLENECK}
    """,
    "4.9 features away from zero": f"""
        [features]
        n = 5
        [features.values]
        low = 0.5
        {BOTTLENECK}
        [sweep]
        probability = [0.3, 0.03]
    """,
    "4.10 GELU, identity": """
        [features]
        n = 8
        probability = 0.2
        [network]
        kind = "neuron"
        activation = "gelu"
        hidden = 4
    """,
    "4.10 GELU, absolute value": f"""
        [features]
        n = 8
        probability = 0.2
        {SIGNED}
        [target]
        function = "abs"
        {SMALL}
        activation = "gelu"
    """,
    "4.11 GELU, squares": f"""
        [features]
        n = 8
        probability = 0.2
        {SIGNED}
        [target]
        function = "square"
        {SMALL}
        activation = "gelu"
        hidden_bias = true
    """,
    "4.11 GELU, products": f"""
        [features]
        n = 8
        probability = 0.5
        {SIGNED}
        [target]
        function = "product"
        {SMALL}
        activation = "gelu"
        output = "linear"
    """,
    "4.12 which is larger, by cross-entropy": f"""
        [features]
        n = 8
        probability = 0.5
        [target]
        function = "argmax"
        {SMALL}
        output = "linear"
        [fit]
        loss = "cross_entropy"
    """,
    "4.12 levels, by cross-entropy": f"""
        [features]
        n = 4
        probability = 0.5
        [features.values]
        kind = "choice"
        choices = [1.0, 2.0]
        [target]
        function = "one_hot"
        levels = [0.0, 1.0, 2.0]
        {SMALL}
        output = "linear"
        [fit]
        loss = "cross_entropy"
    """,
    "4.13 maxima of all pairs": f"""
        [features]
        n = 8
        probability = 0.3
        [target]
        function = "max"
        pairs = "all"
        {SMALL}
    """,
    "4.13 one-hot levels": f"""
        [features]
        n = 8
        probability = 0.3
        [features.values]
        kind = "choice"
        choices = [1.0, 2.0, 3.0]
        [target]
        function = "one_hot"
        levels = [1.0, 2.0, 3.0]
        {SMALL}
    """,
    "4.14 two hidden layers": f"""
        [features]
        n = 6
        probability = 0.3
        {SIGNED}
        [target]
        function = "max_abs"
        [network]
        kind = "computation"
        hidden = [8, 6]
        hidden_bias = true
    """,
    "4.16 forced co-occurrence": f"""
        [features]
        n = 6
        {BOTTLENECK}
        [sweep]
        active = [1, 2, 3]
    """,
}
ABOUT = """
[about]
title = "{name}"
problem = "{number}"
question = "What is learnt?"
expectation = "Something."
run_time = "1 s"
"""
FIT = "steps = 20\nbatch = 512\nlr = 0.01\nreplicas = 4\neval_samples = 4096\ncurve_points = 2\n"


@pytest.fixture(params=PROBLEMS)
def toy(request: pytest.FixtureRequest, tmp_path: Path) -> ToyConfig:
    text = "\n".join(line.strip() for line in PROBLEMS[request.param].splitlines())
    fit_table = text + FIT if "[fit]" in text else f"{text}\n[fit]\n{FIT}"
    path = tmp_path / "toy.toml"
    path.write_text(ABOUT.format(name=request.param, number=request.param.split()[0]) + fit_table)
    return load_config(ToyConfig, path)


def test_a_problem_is_sampled_and_has_a_baseline_to_beat(toy: ToyConfig):
    instances = toy.instances()
    x = Sampler.of(instances).sample(4096, seed=0, stream="eval")
    wanted = Target.of(toy)(x)
    assert x.shape == (len(instances), 1, 4096, toy.features.n)
    assert wanted.shape == (len(instances), 1, 4096, Target.of(toy).n_outputs)
    assert wanted.isfinite().all()
    for i, each in enumerate(instances):
        expected = torch.tensor(each.features.probabilities())
        assert torch.allclose((x[i, 0] != 0).float().mean(0), expected, atol=0.04)
        naive = naive_loss(each, x[i])
        assert 0 <= naive.loss < naive.constant_loss < math.inf
        assert 0 < naive.dedicated <= Target.of(each).n_outputs


def test_a_problem_is_learnt_from(toy: ToyConfig):
    result = fit(toy)
    first, last = result.curve_losses[0], result.curve_losses[-1]
    assert result.curve_losses.isfinite().all()
    assert result.losses.shape == (len(toy.instances()), 4)
    assert (last.mean(1) < first.mean(1)).all()
    assert (last.amin(1) < first.amin(1)).all()


def test_every_problem_that_a_config_can_say_is_here():
    assert {name.split()[0] for name in PROBLEMS} == {f"4.{i}" for i in (*range(1, 15), 16)}
