"""Muon and LBFGS, which are no rules of one element each, against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_optim_rules import assert_close, values

import pycnn
from pycnn import nn, optim


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


@pytest.mark.parametrize("settings", [{}, {"lr": 0.1, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}])
def test_muon(torch, settings):
    rng = np.random.default_rng(0)
    shapes = [(4, 6), (6, 4), (3, 3)]
    start = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    ours = [nn.Parameter(pycnn.tensor(value)) for value in start]
    theirs = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    first, second = optim.Muon(ours, **settings), torch.optim.Muon(theirs, **settings)
    for _ in range(3):
        for mine, its, shape in zip(ours, theirs, shapes, strict=True):
            gradient = rng.standard_normal(shape).astype(np.float32)
            mine.grad, its.grad = pycnn.tensor(gradient), torch.tensor(gradient)
        first.step()
        second.step()
    for mine, its in zip(ours, theirs, strict=True):
        # The iteration's numbers have eight bits.
        np.testing.assert_allclose(values(mine), its.detach().numpy(), atol=0.05 * first.param_groups[0]["lr"])
        assert_close(first.state[mine]["momentum_buffer"], second.state[its]["momentum_buffer"].numpy(), 1e-6)
    for bad in ({"ns_steps": 100}, {"ns_coefficients": (1.0, 2.0)}):
        optimizer = optim.Muon(ours, **bad)
        with pytest.raises(ValueError, match="less than 100|exactly 3 values"):
            optimizer.step()


# -- LBFGS -------------------------------------------------------------------------------------------------------------
def rosenbrock(module: Any, parameters: list[Any]) -> Any:
    x = module.cat([parameter.reshape(-1) for parameter in parameters])
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


LBFGS_CASES: list[dict[str, Any]] = [
    {"lr": 1e-3},
    {"lr": 0.1, "max_iter": 4, "history_size": 3},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 5, "history_size": 2},
    {"line_search_fn": "strong_wolfe", "max_eval": 3},
    {"line_search_fn": "strong_wolfe", "tolerance_grad": 1.0},
    {"line_search_fn": "strong_wolfe", "tolerance_change": 0.1},
]


@pytest.mark.parametrize("settings", LBFGS_CASES)
def test_lbfgs_equals_pytorchs(torch, settings):
    start = [np.array([-1.2, 1.0]), np.array([0.5]), np.array([[-0.3], [0.7]])]
    ours = [nn.Parameter(pycnn.tensor(value)) for value in start]
    theirs = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    first, second = optim.LBFGS(ours, **settings), torch.optim.LBFGS(theirs, **settings)

    def closure_of(module, parameters, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = rosenbrock(module, parameters)
            loss.backward()
            return loss

        return closure

    one, two = closure_of(pycnn, ours, first), closure_of(torch, theirs, second)
    for _ in range(3):
        assert first.step(one).item() == pytest.approx(second.step(two).item(), rel=1e-9)
        for mine, other in zip(ours, theirs, strict=True):
            assert_close(mine, other.detach().numpy(), 1e-7)
        own, other = first.state[ours[0]], second.state[theirs[0]]
        assert set(own) - {"al"} == set(other) - {"al"}
        assert (own["n_iter"], own["func_evals"]) == (other["n_iter"], other["func_evals"])
    again = optim.LBFGS(ours, **settings)
    again.load_state_dict(first.state_dict())
    assert again.state[ours[0]]["n_iter"] == first.state[ours[0]]["n_iter"]
    again.step(one)


def test_lbfgs_finds_the_minimum():
    parameters = [nn.Parameter(pycnn.tensor([-1.2, 1.0], dtype=pycnn.float64))]
    unused = nn.Parameter(pycnn.zeros(2, dtype=pycnn.float64))
    optimizer = optim.LBFGS([*parameters, unused], line_search_fn="strong_wolfe", max_iter=100, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(pycnn, parameters)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert np.allclose(values(parameters[0]), 1, atol=1e-6) and values(unused).tolist() == [0, 0]
    with pytest.raises(ValueError, match="parameter groups"):
        optim.LBFGS([{"params": parameters}, {"params": [unused]}])


def test_lbfgs_knows_one_line_search():
    parameter = nn.Parameter(pycnn.ones(1))
    optimizer = optim.LBFGS([parameter], line_search_fn="armijo")

    def closure():
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="strong_wolfe"):
        optimizer.step(closure)
