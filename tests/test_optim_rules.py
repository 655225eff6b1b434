"""Every optimiser with every option against PyTorch's, or against its formula in NumPy where PyTorch has none."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import pycnn
from pycnn import nn, optim

ADAM = [
    {},
    {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4},
    {"weight_decay": 0.1},
    {"amsgrad": True, "lr": 0.05},
    {"maximize": True, "weight_decay": 0.02},
]
DECOUPLED = [{"weight_decay": 0.3, "decoupled_weight_decay": True, "lr": 0.1}]
CASES = [
    ("SGD", settings)
    for settings in (
        {"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.01}, {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.5, "maximize": True},
    )
]  # fmt: skip
CASES += [("Adam", settings) for settings in ADAM + DECOUPLED]
CASES += [("AdamW", settings) for settings in [*ADAM, {"weight_decay": 0}]]
CASES += [
    (name, settings)
    for name in ("Adamax", "NAdam", "RAdam")
    for settings in ({}, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4}, {"weight_decay": 0.1}, {"maximize": True})
]
CASES += [("NAdam", {"momentum_decay": 0.1}), ("NAdam", DECOUPLED[0]), ("RAdam", DECOUPLED[0])]
CASES += [
    ("RMSprop", settings)
    for settings in (
        {}, {"lr": 0.1, "alpha": 0.8, "eps": 1e-3}, {"momentum": 0.9}, {"centered": True, "weight_decay": 0.1},
        {"centered": True, "momentum": 0.5, "maximize": True},
    )
]  # fmt: skip
CASES += [
    ("Adagrad", settings)
    for settings in ({}, {"lr": 0.1, "lr_decay": 0.2, "eps": 1e-3}, {"weight_decay": 0.1, "maximize": True},
                     {"initial_accumulator_value": 0.5})
]  # fmt: skip
CASES += [("Adadelta", {}), ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1, "maximize": True})]
CASES += [("Rprop", {}), ("Rprop", {"lr": 0.2, "etas": (0.3, 1.5), "step_sizes": (0.1, 0.25), "maximize": True})]
CASES += [
    ("ASGD", settings)
    for settings in ({}, {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 3, "weight_decay": 0.1}, {"maximize": True})
]
CASES += [
    ("Adafactor", settings)
    for settings in ({}, {"lr": 0.2, "beta2_decay": -0.5, "eps": (1e-3, 0.1), "d": 2.0, "weight_decay": 0.1},
                     {"maximize": True})
]  # fmt: skip
SHAPES = [(4, 5), (3, 2, 3, 3), (7,), ()]
#: Relative to the largest element: sums of steps cancel.
TOLERANCE = {"float64": 1e-12, "float32": 1e-6}


def values(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().numpy())


def assert_close(actual: Any, expected: np.ndarray, tolerance: float, what: str = "") -> None:
    scale = float(np.abs(expected).max()) if expected.size else 0.0
    np.testing.assert_allclose(values(actual), expected, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def starts(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]


def gradients(dtype: str, step: int) -> list[np.ndarray | None]:
    """Of every parameter; the last but one has none in the first steps, so that its steps lag behind."""
    rng = np.random.default_rng(step + 1)
    drawn: list[np.ndarray | None] = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    if step < 3:
        drawn[2] = None
    return drawn


class Pair:
    """The same parameters under pycnn's and PyTorch's optimiser."""

    def __init__(self, torch: Any, name: str, settings: dict[str, Any], dtype: str) -> None:
        self.torch = torch
        self.ours = [nn.Parameter(pycnn.tensor(start)) for start in starts(dtype)]
        self.theirs = [torch.nn.Parameter(torch.tensor(start)) for start in starts(dtype)]
        self.our = getattr(optim, name)(self.ours, **settings)
        self.their = getattr(torch.optim, name)(self.theirs, **settings)
        self.dtype = dtype

    def step(self, number: int) -> None:
        for ours, theirs, gradient in zip(self.ours, self.theirs, gradients(self.dtype, number), strict=True):
            ours.grad = None if gradient is None else pycnn.tensor(gradient)
            theirs.grad = None if gradient is None else self.torch.tensor(gradient)
        self.our.step()
        self.their.step()

    def compare(self) -> None:
        tolerance = TOLERANCE[self.dtype]
        for ours, theirs in zip(self.ours, self.theirs, strict=True):
            assert_close(ours, theirs.detach().numpy(), tolerance)
        for ours, theirs in zip(self.ours, self.theirs, strict=True):
            own, other = self.our.state.get(ours, {}), self.their.state.get(theirs, {})
            assert set(own) == set(other)
            for key, value in other.items():
                assert tuple(own[key].shape) == tuple(value.shape), key
                assert str(own[key].dtype).split(".")[1] == str(value.dtype).split(".")[1], key
                assert_close(own[key], value.numpy(), tolerance, key)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_ten_steps_equal_pytorchs(torch, name, settings, dtype):
    pair = Pair(torch, name, settings, dtype)
    for number in range(10):
        pair.step(number)
    pair.compare()
    own, other = pair.our.state_dict(), pair.their.state_dict()
    assert set(own["state"]) == set(other["state"])
    assert own["param_groups"] == other["param_groups"]


# -- what PyTorch does not have ----------------------------------------------------------------------------------------
def lars(start, gradient_of, *, lr, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=1e-8, nesterov=False):
    p, v = start.astype(np.float64), None
    for step in range(10):
        g = gradient_of(step)
        sizes = np.linalg.norm(p), np.linalg.norm(g)
        trust = trust_coefficient * sizes[0] / (sizes[1] + weight_decay * sizes[0] + eps) if min(sizes) > 0 else 1.0
        g = (g + weight_decay * p) * trust
        v = g if v is None else momentum * v + g
        p = p - lr * (g + momentum * v if nesterov else v)
    return p


def lion(start, gradient_of, *, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
    p, m = start.astype(np.float64), np.zeros_like(start, dtype=np.float64)
    for step in range(10):
        g = gradient_of(step) * (-1 if maximize else 1)
        p = p * (1 - lr * weight_decay) - lr * np.sign(betas[0] * m + (1 - betas[0]) * g)
        m = betas[1] * m + (1 - betas[1]) * g
    return p


@pytest.mark.parametrize(
    ("name", "oracle", "settings"),
    [
        ("LARS", lars, {"lr": 2.0}),
        ("LARS", lars, {"lr": 1.0, "weight_decay": 0.1, "trust_coefficient": 0.02, "nesterov": True, "momentum": 0.5}),
        ("Lion", lion, {}),
        ("Lion", lion, {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.2, "maximize": True}),
    ],
)
def test_rules_that_pytorch_lacks_follow_their_formula(name, oracle, settings):
    parameters = [nn.Parameter(pycnn.tensor(start)) for start in (*starts("float64"), np.zeros(3))]
    optimizer = getattr(optim, name)(parameters, **settings)

    def gradient_of(number, step):
        return np.random.default_rng((number, step)).standard_normal(parameters[number].shape)

    expected = [oracle(values(p), lambda step, i=i: gradient_of(i, step), **settings) for i, p in enumerate(parameters)]
    for step in range(10):
        for i, parameter in enumerate(parameters):
            parameter.grad = pycnn.tensor(gradient_of(i, step))
        optimizer.step()
    for parameter, wanted in zip(parameters, expected, strict=True):
        assert_close(parameter, wanted, 1e-12)


# -- whatever the rule -------------------------------------------------------------------------------------------------
#: Those with a formula in the core.
RULES = ["SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Rprop", "ASGD", "LARS",
         "Lion"]  # fmt: skip
NAMES = [*RULES, "Adafactor"]
#: Those that keep most state.
RICH = {"SGD": {"momentum": 0.9}, "Adam": {"amsgrad": True}, "RMSprop": {"momentum": 0.5, "centered": True}}


def make(name: str, parameters: list[Any], **settings: Any) -> Any:
    return getattr(optim, name)(parameters, **{**RICH.get(name, {}), **settings})


@pytest.mark.parametrize("name", NAMES)
def test_capture_replays_the_same_bits(name):
    def run(captured):
        pycnn.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        optimizer = make(name, list(net.parameters()))

        def step(x):
            loss = (net(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        replayed = pycnn.capture(step) if captured else step
        x = pycnn.tensor(np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32))
        losses = [replayed(x).item() for _ in range(6)]
        assert not captured or replayed.recordings == 1
        state = [values(value) for entry in optimizer.state.values() for value in entry.values()]
        return losses, [values(parameter) for parameter in net.parameters()], state

    one, two = run(False), run(True)
    assert one[0] == two[0]
    for first, second in zip(one[1] + one[2], two[1] + two[2], strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_steps_make_one_plan_and_new_numbers_none(name):
    parameters = [nn.Parameter(pycnn.ones(shape)) for shape in [(3, 4), (5,), (2, 2)]]
    optimizer = make(name, parameters)

    def step() -> None:
        for parameter in parameters:
            parameter.grad = pycnn.ones_like(parameter)
        pycnn.eval(*(parameter.grad for parameter in parameters))
        optimizer.param_groups[0]["lr"] *= 0.9
        before = pycnn._core.statistics()
        optimizer.step()
        after = pycnn._core.statistics()
        made.append(after["plans_compiled"] - before["plans_compiled"])

    made: list[int] = []
    for _ in range(5):
        step()
    assert made[2:] == [0, 0, 0]


@pytest.mark.parametrize("name", RULES)
def test_parameters_and_state_stay_where_they_are(name):
    """Every tensor's next value is written over the last one: a step allocates nothing of a parameter's size."""
    parameters = [nn.Parameter(pycnn.ones(64, 64)) for _ in range(3)]
    optimizer = make(name, parameters)
    for parameter in parameters:
        parameter.grad = pycnn.ones(64, 64) * 0.5
    del parameter
    for _ in range(3):
        optimizer.step()
    before = pycnn._core.statistics()["buffers_donated"]
    optimizer.step()
    large = sum(value.dim() > 0 for state in optimizer.state.values() for value in state.values())
    assert pycnn._core.statistics()["buffers_donated"] - before >= len(parameters) + large


@pytest.mark.parametrize("name", NAMES)
def test_modes_agree(name):
    def run():
        parameters = [nn.Parameter(pycnn.tensor(start)) for start in starts("float32")]
        optimizer = make(name, parameters, weight_decay=0.1) if name != "Rprop" else make(name, parameters)
        for number in range(4):
            for parameter, gradient in zip(parameters, gradients("float32", number), strict=True):
                parameter.grad = None if gradient is None else pycnn.tensor(gradient)
            optimizer.step()
        return [values(parameter) for parameter in parameters]

    planned = run()
    pycnn.set_mode("eager")
    try:
        eager = run()
    finally:
        pycnn.set_mode("lazy")
    assert all(map(np.array_equal, planned, eager))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_parameters_round_once(name, dtype):
    """The step from the same state in float32, rounded."""
    narrow_type = getattr(pycnn, dtype)
    rng = np.random.default_rng(0)
    start, gradient = (pycnn.tensor(rng.standard_normal(50).astype(np.float32)).to(narrow_type) for _ in range(2))
    narrow, wide = nn.Parameter(start.clone()), nn.Parameter(start.float())
    first, second = make(name, [narrow]), make(name, [wide])
    narrow.grad, wide.grad = gradient.clone(), gradient.float()
    first.step()
    second.step()
    assert narrow.dtype == narrow_type
    assert np.array_equal(values(narrow.float()), values(wide.detach().to(narrow_type).float()))
    for key, value in first.state[narrow].items():
        assert value.dtype == (pycnn.float32 if value.dim() == 0 else narrow_type), key


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("LARS", "Lion")])
def test_state_crosses_to_pytorch_and_back(torch, name):
    settings = RICH.get(name, {})
    pair = Pair(torch, name, settings, "float64")
    for number in range(4):
        pair.step(number)

    def across(state, convert):
        entries = {
            position: {key: convert(value) for key, value in entry.items()}
            for position, entry in state["state"].items()
        }
        return {"state": entries, "param_groups": state["param_groups"]}

    ours = across(pair.our.state_dict(), lambda value: torch.tensor(values(value)))
    theirs = across(pair.their.state_dict(), lambda value: pycnn.tensor(value.numpy()))
    pair.our = make(name, pair.ours)
    pair.their = getattr(torch.optim, name)(pair.theirs, **settings)
    pair.our.load_state_dict(theirs)
    pair.their.load_state_dict(ours)
    for number in range(4, 8):
        pair.step(number)
    pair.compare()


@pytest.mark.parametrize("name", NAMES)
def test_rates_that_are_tensors(name):
    def run(make_rate):
        parameter = nn.Parameter(pycnn.tensor([1.0, -2.0], dtype=pycnn.float64))
        optimizer = make(name, [parameter], lr=make_rate(0.01))
        for number in range(4):
            parameter.grad = pycnn.tensor([0.5, number - 1.0], dtype=pycnn.float64)
            optimizer.step()
            if number == 1:
                rate = optimizer.param_groups[0]["lr"]
                if isinstance(rate, pycnn.Tensor):
                    rate.fill_(0.02)
                else:
                    optimizer.param_groups[0]["lr"] = 0.02
        return values(parameter)

    plain = run(float)
    for rate in (lambda x: pycnn.tensor(x, dtype=pycnn.float64), lambda x: pycnn.tensor([x], dtype=pycnn.float64)):
        np.testing.assert_allclose(run(rate), plain, rtol=1e-13)


def test_replays_see_the_steps_of_one_parameter_change():
    """Counters of parameters that step together hold one value; each can still be set alone."""

    def run(captured):
        parameters = [nn.Parameter(pycnn.ones(2)), nn.Parameter(pycnn.ones(3))]
        optimizer = optim.Adam(parameters, lr=0.1)

        def step():
            sum((parameter**2).sum() for parameter in parameters).backward()
            optimizer.step()
            optimizer.zero_grad()

        replayed = pycnn.capture(step) if captured else step
        seen = []
        for number in range(8):
            if number == 4:
                optimizer.state[parameters[1]]["step"].zero_()
            replayed()
            seen.append([values(parameter).tolist() for parameter in parameters])
            seen.append([optimizer.state[parameter]["step"].item() for parameter in parameters])
        return seen

    assert run(True) == run(False)
    assert run(False)[-1] == [8, 4]


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_replays_follow_a_schedule_of_a_rate_that_is_a_tensor(name, shape):
    def run(captured):
        parameter = nn.Parameter(pycnn.tensor([1.0, -2.0]))
        optimizer = make(name, [parameter], lr=pycnn.full(shape, 0.1))
        schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

        def step():
            (parameter**2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        replayed = pycnn.capture(step) if captured else step
        seen = []
        for _ in range(6):
            replayed()
            schedule.step()
            seen.append(values(parameter).tolist())
        assert not captured or replayed.recordings == 1
        return seen

    assert run(True) == run(False)


def test_betas_that_are_tensors(torch):
    betas = (pycnn.tensor(0.8, dtype=pycnn.float64), pycnn.tensor([0.95], dtype=pycnn.float64))
    parameter, plain = (nn.Parameter(pycnn.ones(3, dtype=pycnn.float64)) for _ in range(2))
    first, second = optim.Adam([parameter], betas=betas), optim.Adam([plain], betas=(0.8, 0.95))
    for _ in range(3):
        for member in (parameter, plain):
            member.grad = member.detach() * 2
        first.step()
        second.step()
    np.testing.assert_allclose(values(parameter), values(plain), rtol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_empty_groups_and_empty_parameters(name):
    empty = nn.Parameter(pycnn.zeros(0, 3))
    optimizer = make(name, [{"params": []}, {"params": [empty], "lr": 0.5}])
    optimizer.step()
    empty.grad = pycnn.zeros(0, 3)
    optimizer.step()
    assert empty.shape == (0, 3) and optimizer.state_dict()["param_groups"][0]["params"] == []


def test_state_of_the_wrong_shape_is_refused():
    parameter = nn.Parameter(pycnn.ones(3))
    optimizer = optim.Adam([parameter])
    parameter.grad = pycnn.ones(3)
    optimizer.step()
    optimizer.state[parameter]["exp_avg"] = pycnn.ones(2)
    with pytest.raises(RuntimeError, match="state 'exp_avg' of a parameter of shape .*3.* has shape .*2"):
        optimizer.step()


def test_old_states_are_taken():
    """Steps that are numbers, options that are missing."""
    parameter = nn.Parameter(pycnn.ones(3))
    optimizer = optim.Adam([parameter])
    parameter.grad = pycnn.ones(3)
    optimizer.step()
    state = optimizer.state_dict()
    state["state"][0] = {**state["state"][0], "step": 7}
    for name in ("amsgrad", "maximize", "fused"):
        del state["param_groups"][0][name]
    optimizer.load_state_dict(state)
    assert optimizer.state[parameter]["step"].item() == 7 and optimizer.param_groups[0]["amsgrad"] is False
    optimizer.step()
    assert optimizer.state[parameter]["step"].item() == 8


@pytest.mark.parametrize("name", RULES)
def test_choices_between_implementations_are_accepted(name):
    """What PyTorch takes to choose between its implementations changes nothing here."""
    accepted = inspect.signature(getattr(optim, name)).parameters
    plain, chosen = nn.Parameter(pycnn.ones(3)), nn.Parameter(pycnn.ones(3))
    choices = {key: True for key in ("foreach", "capturable") if key in accepted}
    first, second = make(name, [plain]), make(name, [chosen], **choices)
    for parameter, optimizer in ((plain, first), (chosen, second)):
        parameter.grad = pycnn.tensor([1.0, 2.0, -3.0])
        optimizer.step()
    assert np.array_equal(values(plain), values(chosen))
    if "fused" in accepted:
        make(name, [chosen], fused=True).step()
    recorded = make(name, [plain], differentiable=True)
    with pytest.raises(NotImplementedError, match="differentiable=True is not available"):
        recorded.step()


def test_files_cross_to_pytorch_and_back(torch, tmp_path):
    pair = Pair(torch, "AdamW", {"amsgrad": True}, "float64")
    for number in range(4):
        pair.step(number)
    pycnn.save(pair.our.state_dict(), tmp_path / "ours.pt")
    torch.save(pair.their.state_dict(), tmp_path / "theirs.pt")
    pair.our, pair.their = optim.AdamW(pair.ours), torch.optim.AdamW(pair.theirs)
    pair.our.load_state_dict(pycnn.load(tmp_path / "theirs.pt"))
    pair.their.load_state_dict(torch.load(tmp_path / "ours.pt", weights_only=True))
    for number in range(4, 8):
        pair.step(number)
    pair.compare()


BAD = [
    ("Adam", {"lr": -1}, ValueError, "Invalid learning rate: -1"),
    ("Adam", {"eps": -1}, ValueError, "Invalid epsilon value: -1"),
    ("Adam", {"betas": (1.0, 0.9)}, ValueError, "Invalid beta parameter at index 0: 1.0"),
    ("Adam", {"betas": (0.9, -0.1)}, ValueError, "Invalid beta parameter at index 1: -0.1"),
    ("Adam", {"betas": (0, 0.9)}, ValueError, "betas must be either both floats or both Tensors"),
    ("Adam", {"weight_decay": -1}, ValueError, "Invalid weight_decay value: -1"),
    ("Adam", {"foreach": True, "fused": True}, RuntimeError, "cannot be `True` together"),
    ("AdamW", {"fused": True, "differentiable": True}, RuntimeError, "`fused` does not support `differentiable`"),
    ("SGD", {"foreach": True, "fused": True}, RuntimeError, "cannot be `True` together"),
    ("NAdam", {"momentum_decay": -1}, ValueError, "Invalid momentum_decay value: -1"),
    ("Adamax", {"betas": (0.5, 1.0)}, ValueError, "Invalid beta parameter at index 1: 1.0"),
    ("RAdam", {"eps": -1}, ValueError, "Invalid epsilon value"),
    ("RMSprop", {"alpha": -1}, ValueError, "Invalid alpha value: -1"),
    ("RMSprop", {"momentum": -1}, ValueError, "Invalid momentum value: -1"),
    ("Adagrad", {"lr_decay": -1}, ValueError, "Invalid lr_decay value: -1"),
    ("Adagrad", {"initial_accumulator_value": -1}, ValueError, "Invalid initial_accumulator_value value: -1"),
    ("Adadelta", {"rho": 1.5}, ValueError, "Invalid rho value: 1.5"),
    ("Rprop", {"etas": (1.5, 1.2)}, ValueError, "Invalid eta values: 1.5, 1.2"),
    ("ASGD", {"weight_decay": -1}, ValueError, "Invalid weight_decay value: -1"),
    ("Adafactor", {"lr": -1}, ValueError, "Learning rate should be >= 0 but is: -1"),
    ("Adafactor", {"beta2_decay": 1}, ValueError, "beta2_decay should be <= 0 but is: 1"),
    ("Adafactor", {"eps": (-1, 0)}, ValueError, "epsilon1 should be >= 0 but is: -1"),
    ("Adafactor", {"eps": (None, -1)}, ValueError, "epsilon2 should be >= 0 but is: -1"),
    ("Adafactor", {"d": 0.5}, ValueError, "Clipping threshold d should be >= 1 but is: 0.5"),
    ("Muon", {"lr": -1}, ValueError, "Learning rate should be >= 0 but is: -1"),
    ("Muon", {"momentum": -1}, ValueError, "momentum should be >= 0 but is: -1"),
    ("Muon", {"adjust_lr_fn": "x"}, ValueError, "Adjust learning rate function x is not supported"),
    ("Muon", {}, ValueError, "Muon only supports 2D parameters"),
    ("LBFGS", {"lr": -1}, ValueError, "Invalid learning rate: -1"),
    ("SparseAdam", {"lr": 0}, ValueError, "Invalid learning rate: 0"),
    ("SparseAdam", {"eps": 0}, ValueError, "Invalid epsilon value: 0"),
    ("SparseAdam", {"betas": (1.0, 0.5)}, ValueError, "Invalid beta parameter at index 0: 1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "error", "message"), BAD)
def test_bad_options_raise_as_in_pytorch(name, arguments, error, message):
    with pytest.raises(error, match=message):
        getattr(optim, name)([nn.Parameter(pycnn.zeros(1))], **arguments)
    torch = pytest.importorskip("torch")
    with pytest.raises(error, match=message):
        getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))], **arguments)


@pytest.mark.parametrize("name", [*NAMES, "LBFGS"])
def test_rates_of_two_elements_are_refused(name):
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        getattr(optim, name)([nn.Parameter(pycnn.zeros(1))], lr=pycnn.ones(2))
