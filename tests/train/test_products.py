"""Products by either library: the same to rounding, with their gradients; which one is taken where."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, vmap

from tests.train.fixtures import small_run
from tests.train.test_exact import cut
from tests.train.test_several_processes import call
from tests.train.test_training_run import command, write_config
from train import products
from train.checkpoint import load
from train.config import ModelConfig
from train.loss import NextTokenLoss
from train.model import Transformer
from train.products import add_product, linear, product, zeros_for_gradient
from train.tracking import read_metrics
from train.training_run import run

EITHER = pytest.mark.parametrize("library", ["torch", "oneDNN"])


@pytest.fixture
def by(monkeypatch, library):
    if library == "oneDNN" and not torch.backends.mkldnn.is_available():
        pytest.skip("torch without oneDNN")
    monkeypatch.setattr(products, "library", lambda: library)
    return library


def matrices(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def require_rounding(ours, exact, terms):
    """Off by rounding of a sum of so many terms of size 1, and not by that of bf16, which is 2^16 times as much."""
    assert ours.dtype == torch.float32
    assert float((ours.double() - exact).detach().abs().max()) <= 5e-6 * terms**0.5


@EITHER
@pytest.mark.parametrize("shape", [(512, 128, 300), (7, 3, 5), (1, 4, 1), (300, 1, 40)])
def test_products_are_those_of_doubles_in_any_layout(by, shape):
    m, k, n = shape
    a, b = matrices((m, k), (k, n))
    exact = a.double() @ b.double()
    for left in (a, a.T.contiguous().T, torch.cat((a, a), 1)[:, :k]):
        for right in (b, b.T.contiguous().T, b.repeat_interleave(2, 1)[:, ::2]):
            require_rounding(product(left, right), exact, k)


@EITHER
def test_a_linear_layer_and_its_gradients_are_those_of_doubles(by):
    x, weight, bias, grad = matrices((3, 50, 16), (40, 16), (40,), (3, 50, 40))
    for given in (bias, None):
        ours = [each.clone().requires_grad_() for each in (x, weight, *([] if given is None else [given]))]
        theirs = [each.double().detach().requires_grad_() for each in ours]
        out, exact = linear(*ours), F.linear(*theirs)
        require_rounding(out, exact, 16)
        for mine, right in zip(torch.autograd.grad(out, ours, grad), torch.autograd.grad(exact, theirs, grad.double())):
            require_rounding(mine, right, 1000)


@EITHER
def test_gradients_that_nobody_wants_are_not_taken(by):
    x, weight = matrices((5, 4), (6, 4))
    weight.requires_grad_()
    (grad,) = torch.autograd.grad(linear(x, weight).sum(), weight)
    assert torch.allclose(grad, x.sum(0).expand(6, 4), atol=1e-5)


@EITHER
def test_sums_of_products_add_up_in_their_own_precision(by):
    a, b = matrices((6, 500), (500, 4))
    total = zeros_for_gradient(torch.empty(6, 4))
    for _ in range(3):
        add_product(total, a, b)
    require_rounding(total, 3 * (a.double() @ b.double()), 4500)

    add_product(total, a.bfloat16(), b.bfloat16())
    assert total.dtype == torch.float32


@EITHER
def test_an_empty_batch_autocast_and_doubles_work(by):
    x, weight = matrices((0, 4), (6, 4))
    assert linear(x, weight).shape == (0, 6)
    x, weight = matrices((3, 4), (6, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
    assert linear(x.double(), weight.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("AMD EPYC", "oneDNN"),
        ("AMD Ryzen 9 7950X", "oneDNN"),
        ("Intel(R) Xeon(R) Platinum 8481C", "torch"),
        ("", "torch"),
    ],
)
def test_the_library_goes_by_the_maker_of_the_processor(monkeypatch, name, chosen):
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        chosen = "torch"
    can = {"architecture": "x86_64", "cpu_name": name, "avx512_f": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    products.library.cache_clear()
    assert products.library() == chosen
    products.library.cache_clear()
    can["avx512_f"] = False
    assert products.library() == "torch"
    products.library.cache_clear()


def test_a_run_that_goes_on_by_another_library_is_not_called_exact(data, tmp_path, monkeypatch):
    out = tmp_path / "gelu-s0"
    monkeypatch.setattr(products, "library", lambda: "torch")
    run(small_run(data), out)
    assert "products" not in load(out).state["environment"]
    cut(out, 5)
    monkeypatch.setattr(products, "library", lambda: "oneDNN")
    run(small_run(data), out)
    assert load(out).inexact == ["products: torch up to step 4, then oneDNN"]


@pytest.mark.slow
def test_a_compiled_run_trains_as_a_plain_one(finished, data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    done = call(
        command(config, out, "--train.compile", "true")
    )  # a process without checks of types, which do not compile
    assert done.returncode == 0, done.stderr
    logs = [list(read_metrics(directory / "metrics.jsonl")) for directory in (finished, out)]
    assert [line["loss"] for line in logs[1]] == pytest.approx([line["loss"] for line in logs[0]], rel=1e-5)


def test_a_second_derivative_is_refused_where_it_would_be_wrong(monkeypatch):
    monkeypatch.setattr(products, "library", lambda: "oneDNN")
    x, weight = (each.requires_grad_() for each in matrices((5, 4), (6, 4)))
    (grad,) = torch.autograd.grad(linear(x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.square().sum().backward()


@EITHER
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # of torch's own forward mode
def test_the_transforms_of_torch_func_give_what_the_plain_product_gives(by):
    x, weight, bias, weights = matrices((3, 8), (5, 8), (5,), (4, 5, 8))
    per_row = (None, 0)
    for transformed in (
        lambda layer: vmap(lambda row: layer(row, weight, bias))(x),
        lambda layer: vmap(lambda weight: layer(x, weight, None))(weights),
        lambda layer: jacrev(lambda x: layer(x, weight, bias))(x),
        lambda layer: jacfwd(lambda x: layer(x, weight, bias))(x),
        lambda layer: vmap(jacrev(lambda weight, row: layer(row, weight, bias)), in_dims=per_row)(weight, x),
        lambda layer: hessian(lambda x: layer(x, weight, bias).sin().sum())(x),
        lambda layer: torch.autograd.functional.jacobian(lambda x: layer(x, weight, bias), x, vectorize=True),
    ):
        assert torch.allclose(transformed(linear), transformed(F.linear), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's attention takes a batch one by one
def test_each_rows_own_gradient_by_torch_func_is_that_of_the_row_alone(monkeypatch, dtype, recompute):
    monkeypatch.setattr(products, "library", lambda: "oneDNN")
    shape = ModelConfig(n_layers=1, d_model=16, n_heads=2, n_ctx=8, d_vocab=32, act="gelu_new", widths=(24,))
    model = Transformer(shape, seed=0).to(dtype)
    model.set_recompute(recompute)
    loss = NextTokenLoss(model)
    rows = torch.randint(0, 32, (3, 9), generator=torch.Generator().manual_seed(0))
    parameters = dict(loss.named_parameters())

    def of_row(parameters, row):
        return functional_call(loss, parameters, (row[None],))

    by_row = vmap(grad(of_row), in_dims=(None, 0))({name: each.detach() for name, each in parameters.items()}, rows)
    for row in range(3):
        alone = torch.autograd.grad(loss(rows[row : row + 1]), list(parameters.values()))
        largest = max(float(exact.abs().max()) for exact in alone)
        for name, exact in zip(parameters, alone):
            off = float((by_row[name][row] - exact).abs().max()) / largest
            assert off < (1e-5 if dtype == torch.float32 else 0.02), name
