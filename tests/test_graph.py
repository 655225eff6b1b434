"""Evaluation: nothing computed twice, plans cached, and the same bits however a graph is cut, fused or held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import batch, bits, counted, network, run_script, training_steps

import pycnn
import pycnn.nn.functional as F
from pycnn import _core, nn

# -- nothing twice, nothing unasked ----------------------------------------------------------------------------------


def test_recording_computes_nothing() -> None:
    x = pycnn.randn(4, 4)
    x.tolist()
    assert counted(lambda: (x @ x).relu().sum())["nodes_evaluated"] == 0


def test_a_value_is_computed_once() -> None:
    y = (pycnn.ones(3, 3) * 2).exp()
    y.tolist()
    assert counted(lambda: (y.tolist(), y.numpy(), repr(y), y[0], bool(y.sum() > 0)))["nodes_evaluated"] <= 4
    assert counted(y.tolist)["nodes_evaluated"] == 0


def test_looking_at_the_loss_first_computes_nothing_twice() -> None:
    """Together the two evaluations run no more nodes than one evaluation of everything."""

    def step(look: bool) -> dict[str, int]:
        pycnn.manual_seed(1)
        net = network()
        x, y = batch()
        pycnn.eval(x, y, *net.parameters())

        def work() -> None:
            loss = F.cross_entropy(net(x), y)
            if look:
                loss.item()
            loss.backward()
            for parameter in net.parameters():
                parameter.grad.numpy()

        return counted(work)

    assert step(look=True)["nodes_evaluated"] <= step(look=False)["nodes_evaluated"]


def test_looking_at_anything_first_changes_no_bit() -> None:
    found = []
    for look in range(4):
        pycnn.manual_seed(1)
        net = network()
        x, y = batch()
        hidden = net[:3](x)
        if look & 1:
            hidden.sum().item()
        loss = F.cross_entropy(net[3:](hidden), y)
        if look & 2:
            loss.item()
        loss.backward()
        found.append(bits(loss, *(p.grad for p in net.parameters()), *net.buffers()))
    assert found[1:] == found[:1] * 3


def test_only_ancestors_are_needed() -> None:
    """A pending node that cannot be computed does not spoil others (see also the failing nodes below)."""
    x = pycnn.ones(3)
    bad = pycnn.gather(x, 0, pycnn.tensor([1]) + 10)
    good = x * 2
    assert good.tolist() == [2, 2, 2]
    with pytest.raises((IndexError, RuntimeError)):
        bad.tolist()


def test_running_statistics_move_once_per_forward() -> None:
    norm = nn.BatchNorm1d(2, momentum=0.5)
    x = pycnn.tensor([[1.0, 2.0], [3.0, 6.0]])
    y = norm(x)
    assert norm.running_mean.tolist() == [1, 2]
    y.tolist()
    y.sum().item()
    assert norm.running_mean.tolist() == [1, 2]
    assert norm.num_batches_tracked.item() == 1
    norm(x)
    assert norm.running_mean.tolist() == [1.5, 3]
    norm.eval()
    norm(x).tolist()
    assert norm.running_mean.tolist() == [1.5, 3]


# -- plans -----------------------------------------------------------------------------------------------------------


def test_later_steps_compile_nothing() -> None:
    """Not for a new batch, a new dropout key, nor a new learning rate; the second step may differ (momentum)."""
    counts, _ = training_steps(6)
    assert counts[0]["plans_compiled"] > 0
    assert [c["plans_compiled"] for c in counts[3:]] == [0, 0, 0]
    assert len({c["plans_run"] for c in counts[3:]}) == 1
    assert counts[3]["plans_run"] <= 4


def test_numbers_are_inputs_of_a_plan() -> None:
    x = pycnn.randn(64)

    def formula(factor: float) -> None:
        ((x * factor + 1.5 * factor).exp() / (factor + 2)).sum().item()

    formula(0.3)
    formula(0.4)
    for factor in (0.7, -1.2, 123.4):
        assert counted(lambda factor=factor: formula(factor))["plans_compiled"] == 0


def test_a_plan_gets_its_own_values() -> None:
    """The cache must not return an earlier result, nor bake a number in."""
    for factor in (2.0, 3.0, 0.5, 1.0, 0.0, -1.0):
        for value in (1.0, 4.0):
            x = pycnn.full((3,), value)
            assert ((x * factor + value) ** 2).tolist() == [(value * factor + value) ** 2] * 3


def test_structure_is_compared_in_full() -> None:
    """Same operators and sizes, different wiring, axes, dtypes and attributes."""
    a, b = pycnn.tensor([[1.0, 2.0], [3.0, 4.0]]), pycnn.tensor([[10.0, 20.0], [30.0, 40.0]])
    assert ((a - b).exp() * 1).tolist() != ((b - a).exp() * 1).tolist()
    assert (a.sum(0) + 0).tolist() == [4, 6]
    assert (a.sum(1) + 0).tolist() == [3, 7]
    assert (a @ b).tolist() == [[70, 100], [150, 220]]
    assert (a @ b.t()).tolist() == [[50, 110], [110, 250]]
    assert (a.t() @ b).tolist() == [[100, 140], [140, 200]]
    assert (b @ a).tolist() == [[70, 100], [150, 220]]
    assert (a + a).tolist() == [[2, 4], [6, 8]]
    assert (a + b).tolist() == [[11, 22], [33, 44]]
    image = pycnn.arange(16.0).view(1, 1, 4, 4)
    assert F.max_pool2d(image, 2, stride=1)[0, 0, 0].tolist() == [5, 6, 7]
    assert F.max_pool2d(image, 2, stride=2)[0, 0, 0].tolist() == [5, 7]
    assert (a.double() * 0.1).dtype == pycnn.float64
    assert (a * 0.1).dtype == pycnn.float32


def test_a_new_shape_is_a_new_plan_and_right() -> None:
    w = pycnn.randn(3, 2, 3, 3)
    for size in (3, 4, 5, 4, 3):
        x = pycnn.ones(1, 2, size, size)
        found = F.conv2d(x, w).relu()
        assert tuple(found.shape) == (1, 3, size - 2, size - 2)
        np.testing.assert_allclose(
            found[0, :, 0, 0].numpy(), np.maximum(w.numpy().sum((1, 2, 3)), 0), rtol=1e-5, atol=1e-5
        )


def test_many_shapes_do_not_pile_up() -> None:
    for n in range(1, 400):
        assert (pycnn.ones(n) * 2 + 1).sum().item() == 3 * n


def test_a_plan_can_be_described() -> None:
    x, w = pycnn.randn(1, 3, 8, 8), pycnn.randn(4, 3, 3, 3)
    y = F.conv2d(x, w).relu()
    text = _core.describe_plan(y)
    assert "convolution_forward" in text
    assert counted(lambda: _core.describe_plan(y))["nodes_evaluated"] == 0


def test_verbose_tells_choices() -> None:
    script = """
        import pycnn
        pycnn.nn.functional.conv2d(pycnn.ones(1, 3, 5, 5), pycnn.ones(2, 3, 3, 3)).tolist()
    """
    done = run_script(script, PYCNN_VERBOSE="1")
    assert done.returncode == 0, done.stderr
    assert "convolution_forward" in done.stderr + done.stdout
    quiet = run_script(script, PYCNN_VERBOSE="0")
    assert (quiet.stdout, quiet.stderr) == ("", "")


@pytest.mark.parametrize(
    ("variable", "value"), [("PYCNN_CPU_ISA", "avx1024"), ("PYCNN_MODE", "sometimes"), ("PYCNN_BFLOAT16", "cubes")]
)
def test_unknown_settings_are_errors(variable: str, value: str) -> None:
    done = run_script("import pycnn; print((pycnn.ones(2) + 1).tolist())", **{variable: value})
    assert done.returncode != 0
    assert value in done.stderr
    assert variable in done.stderr


@pytest.mark.parametrize("level", _core.available_levels())
def test_levels_can_be_forced_from_outside(level: str) -> None:
    done = run_script("import pycnn; print((pycnn.ones(3) @ pycnn.ones(3)).item())", PYCNN_CPU_ISA=level)
    assert done.stdout == "3.0\n", done.stderr


# -- the same bits whatever is fused or held -------------------------------------------------------------------------


def random_program(seed: int, dtype: Any, hold: Callable[[int], bool]) -> list[bytes]:
    """A random walk over pointwise, reducing and moving operators; `hold` says which intermediates stay alive."""
    rng = np.random.default_rng(seed)
    pycnn.manual_seed(seed)
    x = pycnn.tensor(rng.standard_normal((3, 4, 5)).astype(np.float32)).to(dtype)
    recent, held = [x, (x * 0.5).sigmoid()], []
    moves: list[Callable[[Any, Any], Any]] = [
        lambda a, b: a + b, lambda a, b: a * b.sigmoid(), lambda a, b: (a - b).tanh(), lambda a, b: a / (b * b + 1),
        lambda a, b: F.relu(a) + 0.1, lambda a, b: a - a.mean(1, keepdim=True),
        lambda a, b: a.sum(0, keepdim=True) * 0.1 + b,
        lambda a, b: F.softmax(a, 2) * b, lambda a, b: F.dropout(a, 0.2), lambda a, b: pycnn.where(a > b, a, b),
        lambda a, b: pycnn.cat([a[1:], b[:1]]), lambda a, b: F.gelu(a), lambda a, b: (a @ b.transpose(1, 2)) @ b * 0.05,
    ]  # fmt: skip
    for number in range(14):
        result = moves[rng.integers(len(moves))](recent[rng.integers(len(recent))], recent[rng.integers(len(recent))])
        recent = [*recent[-2:], result]
        if hold(number):
            held.append(result)
    return bits(recent[-1])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_what_is_held_changes_no_bit(seed: int, dtype: str) -> None:
    d = getattr(pycnn, dtype)
    lonely = random_program(seed, d, lambda number: False)
    assert random_program(seed, d, lambda number: True) == lonely
    assert random_program(seed, d, lambda number: number % 3 == 0) == lonely
    _core.set_mode("eager")
    assert random_program(seed, d, lambda number: False) == lonely


def test_eager_and_planned_training_agree_bit_for_bit() -> None:
    found = []
    for mode in ("lazy", "eager"):
        _core.set_mode(mode)
        pycnn.manual_seed(1)
        _, net = training_steps(4, nesterov=True, weight_decay=1e-3)
        found.append(bits(*net.parameters(), *net.buffers()))
    assert found[0] == found[1]


def test_any_thread_count_trains_the_same_bits() -> None:
    found = []
    for threads in (1, 2, 3, 7):
        pycnn.set_num_threads(threads)
        assert pycnn.get_num_threads() == threads
        pycnn.manual_seed(1)
        _, net = training_steps(3)
        found.append(bits(*net.parameters(), *net.buffers()))
    assert found[1:] == found[:1] * 3


def test_large_sums_do_not_depend_on_threads() -> None:
    """Large enough that the work is really cut."""
    pycnn.manual_seed(0)
    x, w = pycnn.randn(8, 16, 24, 24), pycnn.randn(32, 16, 3, 3)
    a = pycnn.randn(300, 500)
    found = []
    for threads in (1, 2, 3, 7):
        pycnn.set_num_threads(threads)
        v = w.detach().requires_grad_()
        F.conv2d(x, v).square().sum().backward()
        found.append(bits(v.grad, a.sum(), a.mean(0), a.var(), a @ a.t(), a.norm(), F.log_softmax(a, 1)))
    assert found[1:] == found[:1] * 3


def test_plans_describe_themselves() -> None:
    x = pycnn.ones(2, 1, 8, 8)
    weight = pycnn.ones(3, 1, 3, 3)
    bias = pycnn.zeros(3)
    pycnn._core.eval(x, weight, bias)
    y = F.relu(F.conv2d(x, weight, bias))
    text = pycnn.plan.describe(y)
    # One step: bias and ReLU are the convolution's epilogue.
    assert text.startswith("plan: 1 steps")
    assert "convolution_forward" in text and "relu" in text
    assert pycnn.plan.describe(x).startswith("plan: nothing to do")
    with pytest.raises(ValueError, match="sideways"):
        pycnn.plan.set_mode("sideways")
    assert pycnn.plan.get_mode() == "lazy"


def test_winograd_is_a_choice_of_plans() -> None:
    """The setting decides which algorithm a plan holds, and plans made before do not outlive a change."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 32, 24, 25), dtype=np.float32)
    kernel = rng.standard_normal((33, 32, 3, 3), dtype=np.float32)
    before = pycnn.plan.get_winograd()
    results = {}
    try:
        for tile in (0, 2, 4):
            pycnn.plan.set_winograd(tile)
            assert pycnn.plan.get_winograd() == tile
            result = F.conv2d(pycnn.tensor(images), pycnn.tensor(kernel), padding=1)
            expected = f"winograd_{tile}x{tile}" if tile else "direct_brgemm"
            assert expected in pycnn.plan.describe(result)
            results[tile] = result.numpy().astype(np.float64)
        with pytest.raises(ValueError, match="0, 2 or 4"):
            pycnn.plan.set_winograd(3)
    finally:
        pycnn.plan.set_winograd(before)
    for tile, bound in ((2, 2e-6), (4, 1e-5)):
        assert 0 < np.linalg.norm(results[tile] - results[0]) <= bound * np.linalg.norm(results[0])
