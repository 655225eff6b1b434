"""Mixed precision: which operators cast and to what, as PyTorch's autocast on the CPU; weights, gradients, captures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support import bits, counted

import pycnn
import pycnn.nn.functional as F
from pycnn import _core, amp, nn

DTYPES = ("float32", "bfloat16", "float16", "float64")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert not pycnn.is_any_autocast_enabled() and pycnn.is_autocast_cache_enabled()
    assert pycnn.get_autocast_dtype("cpu") == pycnn.bfloat16


def bfloat16() -> amp.autocast:
    return pycnn.autocast("cpu", dtype=pycnn.bfloat16)


# -- operators: each a function of (library, make), where make(*shape) gives numbers in the dtype under test -----------
def pool(name: str, spatial: int) -> Callable[[Any, Any], Any]:
    return lambda t, make: getattr(t.nn.functional, f"{name}{spatial}d")(make(1, 4, *(4,) * spatial), 2)


def padded(mode: str, spatial: int) -> Callable[[Any, Any], Any]:
    return lambda t, make: t.nn.functional.pad(make(1, 2, *(4,) * spatial), (1, 1) * spatial, mode=mode)


def convolution(name: str, spatial: int, *other: str) -> Callable[[Any, Any], Any]:
    def call(t: Any, make: Any) -> Any:
        weight = make(2, 2, *(3,) * spatial)
        arguments = [weight.to(getattr(t, dtype)) for dtype in other] or [weight]
        return getattr(t.nn.functional, f"{name}{spatial}d")(make(1, 2, *(4,) * spatial), *arguments)

    return call


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    **{f"{name}{d}d": convolution(name, d) for name in ("conv", "conv_transpose") for d in (1, 2, 3)},
    "conv2d, float32 weight": convolution("conv", 2, "float32"),
    "conv2d, bias": lambda t, make: t.nn.functional.conv2d(make(1, 2, 4, 4), make(3, 2, 1, 1), make(3).float()),
    "conv2d, unbatched": lambda t, make: t.nn.functional.conv2d(make(2, 4, 4), make(3, 2, 1, 1)),
    "linear": lambda t, make: t.nn.functional.linear(make(2, 3), make(4, 3), make(4)),
    "linear, float32 weight": lambda t, make: t.nn.functional.linear(make(2, 3), make(4, 3).float()),
    "matmul": lambda t, make: t.matmul(make(2, 3), make(3, 4)),
    "matmul, vectors": lambda t, make: t.matmul(make(3), make(3)),
    "matmul, batches": lambda t, make: make(2, 2, 3) @ make(2, 3, 4),
    "mm": lambda t, make: t.mm(make(2, 3), make(3, 4)),
    "bmm": lambda t, make: t.bmm(make(2, 2, 3), make(2, 3, 4)),
    "addmm": lambda t, make: t.addmm(make(2, 4), make(2, 3), make(3, 4)),
    "mv": lambda t, make: t.mv(make(2, 3), make(3)),
    "dot": lambda t, make: t.dot(make(3), make(3)),
    "outer": lambda t, make: t.outer(make(3), make(3)),
    "mse_loss": lambda t, make: t.nn.functional.mse_loss(make(3), make(3)),
    "mse_loss, float32 target": lambda t, make: t.nn.functional.mse_loss(make(3), make(3).float()),
    "l1_loss": lambda t, make: t.nn.functional.l1_loss(make(3), make(3), reduction="none"),
    "nll_loss": lambda t, make: t.nn.functional.nll_loss(make(3, 4), t.tensor([0, 1, 3])),
    "cross_entropy": lambda t, make: t.nn.functional.cross_entropy(make(3, 4), t.tensor([0, 1, 3])),
    "cross_entropy, weight": lambda t, make: t.nn.functional.cross_entropy(
        make(3, 4), t.tensor([0, 1, 3]), weight=make(4).abs()
    ),
    "cross_entropy, smoothing": lambda t, make: t.nn.functional.cross_entropy(
        make(3, 4), t.tensor([0, 1, 3]), label_smoothing=0.1
    ),
    "cross_entropy, probabilities": lambda t, make: t.nn.functional.cross_entropy(make(3, 4), make(3, 4).abs()),
    "binary_cross_entropy": lambda t, make: t.nn.functional.binary_cross_entropy(make(3).sigmoid(), make(3).sigmoid()),
    "binary_cross_entropy_with_logits": lambda t, make: t.nn.functional.binary_cross_entropy_with_logits(
        make(3), make(3).sigmoid(), pos_weight=make(3).abs()
    ),
    "prod": lambda t, make: make(3, 2).prod(),
    "prod, dimension": lambda t, make: make(3, 2).prod(1),
    "prod, dtype": lambda t, make: make(3, 2).prod(1, dtype=t.bfloat16),
    **{
        f"{name}{d}d": pool(name, d)
        for name in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool")
        for d in (1, 2, 3)
    },
    **{f"pad, {m}, {d}d": padded(m, d) for m in ("constant", "reflect", "replicate", "circular") for d in (1, 2, 3)},
    "cat": lambda t, make: t.cat([make(2), make(3)]),
    "cat with float32": lambda t, make: t.cat([make(2), make(3).float()]),
    "cat with integers": lambda t, make: t.cat([make(2), t.arange(3)]),
    "stack": lambda t, make: t.stack([make(2), make(2)]),
    "stack with float32": lambda t, make: t.stack([make(2), make(2).float()]),
    "cosine_similarity": lambda t, make: t.nn.functional.cosine_similarity(make(2, 3), make(2, 3)),
    "grid_sample": lambda t, make: t.nn.functional.grid_sample(make(1, 2, 4, 4), make(1, 3, 3, 2), align_corners=False),
    "local_response_norm": lambda t, make: t.nn.functional.local_response_norm(make(1, 4, 3, 3), 3),
    "local_response_norm, 1d": lambda t, make: t.nn.functional.local_response_norm(make(1, 4, 3), 3),
    "batch_norm": lambda t, make: t.nn.functional.batch_norm(make(4, 2, 3), None, None, training=True),
    "batch_norm, evaluation": lambda t, make: t.nn.functional.batch_norm(
        make(4, 2, 3), make(2), make(2).abs(), make(2), make(2)
    ),
    "add": lambda t, make: make(3) + make(3),
    "add float32": lambda t, make: make(3) + make(3).float(),
    "multiply by a number": lambda t, make: make(3) * 2.5,
    "pow": lambda t, make: make(3) ** 2,
    "exp": lambda t, make: make(3).exp(),
    "relu": lambda t, make: make(3).relu(),
    "gelu": lambda t, make: t.nn.functional.gelu(make(3)),
    "dropout": lambda t, make: t.nn.functional.dropout(make(3), 0.0),
    "softmax": lambda t, make: make(3, 2).softmax(1),
    "log_softmax": lambda t, make: make(3, 2).log_softmax(1),
    "sum": lambda t, make: make(3).sum(),
    "mean": lambda t, make: make(3).mean(),
    "var": lambda t, make: make(3).var(),
    "norm": lambda t, make: make(3).norm(),
    "amax": lambda t, make: make(3).amax(),
    "flatten": lambda t, make: make(3, 2).flatten(),
}


def outcome(library: Any, operator: Callable[[Any, Any], Any], dtype: str, narrow: str) -> Any:
    """The result, or the type of what was raised."""
    random = np.random.default_rng(5)

    def make(*shape: int) -> Any:
        return library.tensor(random.standard_normal(shape).astype(np.float32)).to(getattr(library, dtype))

    try:
        with library.autocast("cpu", dtype=getattr(library, narrow)):
            return operator(library, make)
    except RuntimeError as error:
        return type(error)


@pytest.mark.parametrize("narrow", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", OPERATORS)
def test_results_have_pytorchs_dtypes_and_values(name: str, narrow: str) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    for dtype in DTYPES:
        got = outcome(pycnn, OPERATORS[name], dtype, narrow)
        expected = outcome(torch, OPERATORS[name], dtype, narrow)
        if isinstance(expected, type):
            # Where the operands' dtypes end up different, pycnn's products and poolings may still accept them.
            assert isinstance(got, type) or got.dtype.is_floating_point, (dtype, got)
            continue
        assert not isinstance(got, type), dtype
        assert str(got.dtype).split(".")[-1] == str(expected.dtype).split(".")[-1], dtype
        tolerance = 2e-2 if "float16" in (str(got.dtype), dtype, narrow) or "bfloat16" in (dtype, narrow) else 1e-6
        np.testing.assert_allclose(
            got.double().numpy(), expected.double().numpy(), rtol=tolerance, atol=tolerance, err_msg=dtype
        )


def test_products_are_those_of_rounded_operands() -> None:
    a, b = pycnn.randn(5, 70), pycnn.randn(70, 6)
    with bfloat16():
        got = a @ b
    assert got.dtype == pycnn.bfloat16
    exact = a.bfloat16().double().numpy() @ b.bfloat16().double().numpy()
    assert np.abs(got.double().numpy() - exact).max() <= 2**-8 * np.abs(exact).max()
    assert pycnn.equal(got, a.bfloat16() @ b.bfloat16())


def test_float64_and_integers_are_left_alone() -> None:
    with bfloat16():
        double = pycnn.ones(2, 3, dtype=pycnn.float64)
        assert (double @ double.T).dtype == pycnn.float64
        assert F.mse_loss(double, double).dtype == pycnn.float64
        assert pycnn.tensor([2, 3]).prod().dtype == pycnn.int64
        assert pycnn.cat([pycnn.arange(2), pycnn.arange(3)]).dtype == pycnn.int64
        with pytest.raises(RuntimeError, match="dtype"):
            pycnn.mm(double, pycnn.ones(3, 2))


def test_cat_knows_its_two_dtypes_only() -> None:
    halves = [pycnn.ones(2, dtype=pycnn.float16)] * 2
    with bfloat16(), pytest.raises(RuntimeError, match="cat: Unexpected floating dtype float16"):
        pycnn.cat(halves)
    with bfloat16(), pytest.raises(RuntimeError, match="stack: Unexpected floating dtype float16"):
        pycnn.stack(halves)
    with pycnn.autocast("cpu", dtype=pycnn.float16):
        assert pycnn.cat(halves).dtype == pycnn.float16


# -- gradients ---------------------------------------------------------------------------------------------------------
def network(library: Any = pycnn) -> Any:
    nn = library.nn
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)),
    )


def batch(library: Any = pycnn) -> tuple[Any, Any]:
    random = np.random.default_rng(2)
    images = random.standard_normal((6, 2, 8, 8), dtype=np.float32)
    return library.tensor(images), library.tensor(random.integers(0, 5, 6))


@pytest.mark.parametrize("within", [False, True])
def test_gradients_reach_float32_weights_in_float32(within: bool) -> None:
    net, (x, y) = network(), batch()
    activations = []
    for layer in net:
        layer.register_forward_hook(lambda _module, _inputs, output: activations.append(output))
    with bfloat16():
        loss = F.cross_entropy(net(x), y)
        for activation in activations:
            activation.retain_grad()
        if within:
            loss.backward()
    if not within:
        loss.backward()
    assert loss.dtype == pycnn.float32
    assert {a.dtype for a in activations} == {pycnn.bfloat16} == {a.grad.dtype for a in activations}
    assert {p.grad.dtype for p in net.parameters()} == {pycnn.float32}
    assert net[1].running_mean.dtype == pycnn.float32

    plain = network()
    plain.load_state_dict(net.state_dict())
    F.cross_entropy(plain(x), y).backward()
    # All together: that of a bias before batch normalisation is zero but for rounding.
    got, expected = (np.concatenate([p.grad.numpy().ravel() for p in n.parameters()]) for n in (net, plain))
    assert np.linalg.norm(got - expected) < 0.05 * np.linalg.norm(expected)


def test_gradients_are_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    results = {}
    state = {name: value.numpy() for name, value in network().state_dict().items()}
    for library in (pycnn, torch):
        net, (x, y) = network(library), batch(library)
        net.load_state_dict({name: library.tensor(value) for name, value in state.items()})
        with library.autocast("cpu", dtype=library.bfloat16):
            loss = library.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        results[library] = [loss.detach().numpy(), *(p.grad.numpy() for p in net.parameters())]
        results[library] += [net[1].running_mean.numpy(), net[1].running_var.numpy()]
    for got, expected in zip(results[pycnn], results[torch], strict=True):
        assert got.dtype == expected.dtype == np.float32
        assert np.linalg.norm(got - expected) <= 0.02 * np.linalg.norm(expected) + 2e-3


def test_backward_of_float32_work_within_a_region_stays_float32() -> None:
    weight = pycnn.randn(3, 3, requires_grad=True)
    x = pycnn.randn(4, 3)
    (x @ weight).square().sum().backward()
    expected, weight.grad = weight.grad, None
    loss = (x @ weight).square().sum()
    with bfloat16():
        loss.backward()
    assert pycnn.equal(weight.grad, expected)


def test_eager_and_lazy_agree() -> None:
    net, (x, y) = network(), batch()
    results = {}
    for mode in ("lazy", "eager"):
        pycnn.set_mode(mode)
        net.zero_grad()
        with bfloat16():
            loss = F.cross_entropy(net(x), y)
        loss.backward()
        results[mode] = [loss.detach().numpy().tobytes(), *(p.grad.numpy().tobytes() for p in net.parameters())]
    assert results["lazy"] == results["eager"]


# -- regions -----------------------------------------------------------------------------------------------------------
def product_dtype() -> Any:
    one = pycnn.ones(1, 1)
    return (one @ one).dtype


def test_regions_nest_and_end_with_an_exception() -> None:
    assert product_dtype() == pycnn.float32
    with pytest.raises(KeyError), bfloat16():
        assert product_dtype() == pycnn.bfloat16 == pycnn.get_autocast_dtype("cpu")
        with pycnn.autocast("cpu", enabled=False):
            assert product_dtype() == pycnn.float32 and not pycnn.is_autocast_enabled("cpu")
            with pycnn.autocast("cpu", dtype=pycnn.float16):
                assert product_dtype() == pycnn.float16
            assert product_dtype() == pycnn.float32
        assert product_dtype() == pycnn.bfloat16
        raise KeyError
    assert product_dtype() == pycnn.float32 and not pycnn.is_autocast_enabled("cpu")


def test_one_object_can_be_entered_within_itself() -> None:
    region = bfloat16()
    with region:
        with region:
            assert product_dtype() == pycnn.bfloat16
        assert product_dtype() == pycnn.bfloat16
    assert product_dtype() == pycnn.float32


def test_decorator() -> None:
    @pycnn.autocast("cpu", dtype=pycnn.bfloat16)
    def inner(depth: int) -> list[Any]:
        return [product_dtype(), *(inner(depth - 1) if depth else [])]

    assert inner.__name__ == "inner"
    assert inner(2) == [pycnn.bfloat16] * 3 and product_dtype() == pycnn.float32
    with pytest.raises(TypeError, match="requires a callable"):
        bfloat16()(3)


def test_unsupported_dtypes_warn_and_disable() -> None:
    for dtype in (pycnn.float32, pycnn.float64, pycnn.int64):
        with pytest.warns(UserWarning, match="only supports dtypes of bfloat16 and float16"):
            region = pycnn.autocast("cpu", dtype=dtype)
        with region:
            assert product_dtype() == pycnn.float32 and not pycnn.is_autocast_enabled("cpu")


def test_bad_arguments_raise() -> None:
    with pytest.raises(ValueError, match="device_type"):
        pycnn.autocast(pycnn.bfloat16)
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'abacus'"):
        pycnn.autocast("abacus")
    with pytest.raises(TypeError):
        pycnn.autocast()
    for call in (pycnn.is_autocast_enabled, pycnn.get_autocast_dtype):
        with pytest.raises(RuntimeError, match="abacus"):
            call("abacus")
    with pytest.raises(ValueError, match="floating"):
        pycnn.set_autocast_dtype("cpu", pycnn.int64)


def test_state_functions() -> None:
    assert amp.is_autocast_available("cpu") and not amp.is_autocast_available("abacus")
    assert pycnn.get_autocast_dtype("cpu") == pycnn.bfloat16 and pycnn.get_autocast_dtype("cuda") == pycnn.float16
    pycnn.set_autocast_enabled("cpu", True)
    pycnn.set_autocast_dtype("cpu", pycnn.float16)
    try:
        assert pycnn.is_autocast_enabled("cpu") and pycnn.is_any_autocast_enabled()
        assert not pycnn.is_autocast_enabled()  # that is "cuda"
        assert product_dtype() == pycnn.float16
        with pycnn.autocast("cpu"):
            assert product_dtype() == pycnn.float16
    finally:
        pycnn.set_autocast_enabled("cpu", False)
        pycnn.set_autocast_dtype("cpu", pycnn.bfloat16)
    assert product_dtype() == pycnn.float32


def test_the_state_is_a_threads_own() -> None:
    seen = []
    entered, left = threading.Event(), threading.Event()

    def work() -> None:
        seen.append(product_dtype())
        with pycnn.autocast("cpu", dtype=pycnn.float16):
            entered.set()
            assert left.wait(60)
            seen.append(product_dtype())

    with bfloat16():
        thread = threading.Thread(target=work)
        thread.start()
        assert entered.wait(60)
        assert product_dtype() == pycnn.bfloat16
    left.set()
    thread.join()
    assert seen == [pycnn.float32, pycnn.float16]


# -- the cache of casts ------------------------------------------------------------------------------------------------
def casts(action: Callable[[], Any]) -> int:
    """How many nodes the action records."""
    return counted(action)["nodes_recorded"]


def test_a_weight_is_cast_once() -> None:
    weight, x = pycnn.randn(3, 3, requires_grad=True), pycnn.randn(2, 3).bfloat16()
    with bfloat16():
        first, second = casts(lambda: x @ weight), casts(lambda: x @ weight)
        third = casts(lambda: F.linear(x, weight))
        assert second == first - 1
        with pycnn.autocast("cpu", enabled=False):
            pass
        assert casts(lambda: x @ weight) == second  # an inner region's end keeps it
        pycnn.clear_autocast_cache()
        assert casts(lambda: x @ weight) == first
    with bfloat16():
        assert casts(lambda: F.linear(x, weight)) == third + 1
    with pycnn.autocast("cpu", dtype=pycnn.bfloat16, cache_enabled=False):
        assert not pycnn.is_autocast_cache_enabled()
        assert casts(lambda: x @ weight) == casts(lambda: x @ weight) == first


def test_without_gradients_plans_keep_casts_instead() -> None:
    layer, x = nn.Linear(3, 5), pycnn.randn(2, 3).bfloat16()
    pycnn.eval(x)

    def run() -> list[str]:
        """The operators of the steps that ran."""
        _core.start_profiling()
        with pycnn.no_grad(), bfloat16():
            found.append(bits(layer(x)))
        return [event[1] for event in _core.stop_profiling()]

    found: list[list[bytes]] = []
    assert [run().count("cast") for _ in range(4)] == [2, 0, 0, 0]
    with pycnn.no_grad():
        layer.bias += 1
    pycnn.eval(layer.bias)
    assert [run().count("cast") for _ in range(3)] == [1, 0, 0]
    assert found[0] == found[1] == found[3] != found[4] == found[6]


def test_the_cache_keeps_one_cast_of_a_weight_that_is_trained() -> None:
    weight, x = pycnn.ones(256, 256, requires_grad=True), pycnn.ones(4, 256)
    optimizer = pycnn.optim.SGD([weight], lr=1e-3)
    held = []
    with bfloat16():
        for _ in range(12):
            (x @ weight).float().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            held.append(_core.memory_statistics()["in_use"])
    assert held[2] == held[-1]


def test_the_cache_is_for_leaves_that_require_grad() -> None:
    x, plain = pycnn.randn(2, 3).bfloat16(), pycnn.randn(3, 3)
    weight = pycnn.randn(3, 3, requires_grad=True)
    with bfloat16():
        assert casts(lambda: x @ plain) == casts(lambda: x @ plain)
        twice = weight * 2
        assert casts(lambda: x @ twice) == casts(lambda: x @ twice)


def test_a_changed_weight_is_cast_anew() -> None:
    weight, x = pycnn.zeros(1, 1, requires_grad=True), pycnn.ones(1, 1)
    optimizer = pycnn.optim.SGD([weight], lr=1.0)
    with bfloat16():
        for step in range(3):
            y = x @ weight
            assert y.item() == step
            (-y.sum()).backward()
            optimizer.step()
            optimizer.zero_grad()


def test_casts_made_without_gradients_do_not_cut_those_off() -> None:
    weight, x = pycnn.ones(1, 1, requires_grad=True), pycnn.ones(1, 1)
    with bfloat16():
        with pycnn.no_grad():
            assert not (x @ weight).requires_grad
        (x @ weight).sum().backward()
        with pycnn.inference_mode():
            x @ weight
        (x @ weight).sum().backward()
    assert weight.grad.item() == 2


def test_other_dtypes_have_their_own_casts() -> None:
    weight, x = pycnn.ones(1, 1, requires_grad=True), pycnn.ones(1, 1)
    with bfloat16():
        assert (x @ weight).dtype == pycnn.bfloat16
        with pycnn.autocast("cpu", dtype=pycnn.float16):
            assert (x @ weight).dtype == pycnn.float16
        assert (x @ weight).dtype == pycnn.bfloat16


# -- captures ----------------------------------------------------------------------------------------------------------
def trained(wrap: Callable[[Any], Any], outside: bool) -> list[float]:
    pycnn.manual_seed(4)
    net, (x, y) = network(), batch()
    optimizer = pycnn.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        with pycnn.autocast("cpu", dtype=pycnn.bfloat16, enabled=not outside):
            if outside:
                pycnn.set_autocast_enabled("cpu", True)
            loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    call = wrap(step)
    return [call(x, y).item() for _ in range(6)]


@pytest.mark.parametrize("outside", [False, True])
def test_a_captured_step_trains_as_the_function_itself(outside: bool) -> None:
    captures = []

    def wrap(step: Any) -> Any:
        captures.append(pycnn.capture(step))
        return captures[0]

    assert trained(wrap, outside) == trained(lambda step: step, outside)
    assert captures[0].recordings == (1 if pycnn.get_mode() == "lazy" else 0)


def test_a_replay_belongs_to_an_autocast_state() -> None:
    weight = pycnn.randn(3, 3, requires_grad=True)

    @pycnn.capture
    def product(x: Any) -> Any:
        return (x @ weight).detach()

    x = pycnn.randn(2, 3)
    for _ in range(3):
        assert product(x).dtype == pycnn.float32
        with bfloat16():
            assert product(x).dtype == pycnn.bfloat16
        with pycnn.autocast("cpu", dtype=pycnn.float16):
            assert product(x).dtype == pycnn.float16


def test_a_replay_within_a_region_sees_changed_weights() -> None:
    weight, x = pycnn.ones(1, 1, requires_grad=True), pycnn.ones(1, 1)
    product = pycnn.capture(lambda x: (x @ weight).detach())
    with bfloat16():
        x @ weight  # its cast lies in the cache while the function is captured
        for value in (1.0, 2.0, 3.0, 4.0):
            with pycnn.no_grad():
                weight.fill_(value)
            assert product(x).item() == value


# -- custom functions --------------------------------------------------------------------------------------------------
def custom(cast_inputs: Any, seen: list[Any]) -> Any:
    class Product(pycnn.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cpu", cast_inputs=cast_inputs)
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            ctx.save_for_backward(a, b)
            seen.append(pycnn.is_autocast_enabled("cpu"))
            return a.mm(b)

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, gradient: Any) -> Any:
            a, b = ctx.saved_tensors
            seen.append(pycnn.is_autocast_enabled("cpu"))
            return gradient.mm(b.t()), a.t().mm(gradient)

    return Product


@pytest.mark.parametrize(("cast_inputs", "dtype", "states"), [
    (None, "bfloat16", [True, True]),
    ("float32", "float32", [False, False]),
])  # fmt: skip
def test_custom_functions_run_backward_in_the_state_of_forward(cast_inputs: Any, dtype: str, states: Any) -> None:
    seen: list[Any] = []
    product = custom(cast_inputs and getattr(pycnn, cast_inputs), seen)
    a, b = pycnn.randn(2, 3, requires_grad=True), pycnn.randn(3, 2, requires_grad=True)
    with bfloat16():
        result = product.apply(a, b)
    result.sum().backward()
    assert result.dtype == getattr(pycnn, dtype) and seen == states
    assert a.grad.dtype == b.grad.dtype == pycnn.float32
    product.apply(a, b)
    assert seen[-1] is False


def test_custom_decorators_check_the_device_type() -> None:
    for decorate in (amp.custom_fwd, amp.custom_bwd):
        with pytest.raises(ValueError, match="device_type"):
            decorate(device_type=3)


# -- training ----------------------------------------------------------------------------------------------------------
def test_training_reaches_the_same_loss_as_in_float32() -> None:
    random = np.random.default_rng(0)
    patterns = random.standard_normal((5, 2, 8, 8))
    labels = random.integers(0, 5, 160)
    images = (patterns[labels] + 1.5 * random.standard_normal((160, 2, 8, 8))).astype(np.float32)
    final = {}
    for enabled in (False, True):
        pycnn.manual_seed(1)
        net = network()
        optimizer = pycnn.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for step in range(40):
            chosen = slice(step % 5 * 32, step % 5 * 32 + 32)
            with pycnn.autocast("cpu", dtype=pycnn.bfloat16, enabled=enabled):
                loss = F.cross_entropy(net(pycnn.tensor(images[chosen])), pycnn.tensor(labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with pycnn.no_grad(), pycnn.autocast("cpu", dtype=pycnn.bfloat16, enabled=enabled):
            final[enabled] = F.cross_entropy(net.eval()(pycnn.tensor(images)), pycnn.tensor(labels)).item()
    assert final[False] < 0.4
    assert abs(final[True] - final[False]) < 0.05
    assert {p.dtype for p in net.parameters()} == {pycnn.float32}
