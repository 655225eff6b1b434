"""Writes docs/checks.md: every layer, loss, function, optimiser, schedule and network, and what the tests check of it.

The tables say what pytest collects: a mark means that a test of that kind runs with this name.
Run it after adding any of these, or a test: `python tools/generate_check_table.py [--check]`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterable

import pytest

from pycnn import models, optim
from pycnn.nn import init

ROOT = pathlib.Path(__file__).parent.parent
TESTS = ROOT / "tests"
FILE = ROOT / "docs" / "checks.md"
# Heading: the tests of which one must run with the name.
LAYERS = {
    "PyTorch's values, gradients, state": ["test_every_layer::test_pytorch_agrees"],
    "derivatives": ["test_every_layer::test_gradient_equals_differences"],
    "float32, each instruction set": ["test_every_layer::test_float32_is_near_float64"],
    "modes, threads": ["test_every_layer::test_modes_and_threads_have_the_same_bits"],
    "files, copies": ["test_every_layer::test_state_survives_files_and_copies"],
}
FUNCTIONS = {
    "derivatives": ["test_operators::test_gradient_equals_finite_differences"],
    "second derivatives": ["test_second_derivatives::test_second_derivative_equals_differences_of_the_first"],
    "NumPy": ["test_oracles::test_operator_equals_numpy"],
    "PyTorch": ["test_operators::test_pytorch_agrees"],
    "float32, each instruction set": ["test_operators::test_float32_is_near_float64"],
    "modes": ["test_operators::test_eager_mode_has_the_same_bits"],
    "threads": ["test_operators::test_any_number_of_threads_has_the_same_bits"],
}
OPTIMISERS = {
    "PyTorch's steps": [
        "test_optim_rules::test_ten_steps_equal_pytorchs", "test_optim_other::test_muon",
        "test_optim_other::test_lbfgs_equals_pytorchs",
    ],
    "formula": ["test_optim_rules::test_rules_that_pytorch_lacks_follow_their_formula",
                "test_optim::test_sgd_follows_its_formula"],
    "state crosses": ["test_optim_rules::test_state_crosses_to_pytorch_and_back",
                      "test_optim::test_state_of_a_step_with_a_closure_crosses"],
    "modes": ["test_optim_rules::test_modes_agree"],
    "captured": ["test_optim_rules::test_capture_replays_the_same_bits"],
    "bad options": ["test_optim_rules::test_bad_options_raise_as_in_pytorch",
                    "test_optim_rules::test_rates_of_two_elements_are_refused"],
}  # fmt: skip
SCHEDULES = {
    "PyTorch's rates": [
        "test_optim_schedules::test_schedules_have_pytorchs_bits", "test_optim_schedules::test_plateaus",
        "test_optim_schedules::test_combined_schedules",
    ],
    "resumed": ["test_optim_schedules::test_schedules_resume", "test_optim_schedules::test_plateaus",
                "test_optim_schedules::test_combined_schedules"],
    "begun later": ["test_optim_schedules::test_schedules_begin_later"],
    "formula": ["test_optim_schedules::test_closed_forms",
                "test_optim_schedules::test_the_step_is_halved_when_the_objective_does_not_fall"],
}  # fmt: skip
# Tests that are about one class without having its name as a parameter.
ABOUT = {
    "test_muon": "Muon", "test_lbfgs_equals_pytorchs": "LBFGS", "test_plateaus": "ReduceLROnPlateau",
    "test_the_step_is_halved_when_the_objective_does_not_fall": "HalveOnIncrease",
    "test_sgd_follows_its_formula": "SGD",
}  # fmt: skip
COMBINED = {"sequential": "SequentialLR", "chained": "ChainedScheduler"}
NETWORKS = {
    "parameters": [
        "test_models::test_parameters",
        "test_models::test_parameters_in_millions",
        "test_models::test_parameters_with_auxiliary_classifiers",
    ],
    "multiply-adds": [
        "test_models::test_multiply_adds_of_the_senet_paper",
        "test_models::test_multiply_adds_of_torchvision",
    ],
    "torchvision's names": ["test_models::test_names_of_torchvision"],
}
CLASSES = {
    "step lazy, eager": ["test_models_training::test_a_training_step_has_the_same_bits_in_both_modes"],
    "captured": ["test_models_training::test_captured_training_steps_have_the_same_bits"],
    "PyTorch's logits, files": ["test_models_training::test_logits_of_the_same_layers_in_pytorch"],
    "learns": [f"test_models_learning::test_{task}" for task in (
        "classifiers", "segmentation", "detection", "generation", "optical_flow", "depth", "face_detection",
        "shot_detection", "sentences", "captions",
    )],
}  # fmt: skip
LEARNING = {
    "test_generation": ("Generator", "Discriminator"), "test_optical_flow": ("FlowNetS",), "test_depth": ("DepthNet",),
    "test_shot_detection": ("TransNetV2",), "test_sentences": ("TextCNN",), "test_captions": ("Captioner",),
}  # fmt: skip

TEXT = """# What is checked

Written by `tools/generate_check_table.py` from the tests that pytest collects: a mark means that a test of that kind
runs with this name. A layer or function without a row in its table of cases fails `tests/test_every_layer.py` or
`tests/test_catalogue.py`.

## Layers and losses

The rows of `tests/layer_cases.py`. With PyTorch's numbers as parameters and buffers, outputs, gradients and the state
afterwards agree to 1e-7 in float64, and outputs to 1.3e-6 in float32; the printed form and the names of the state are
the same. Derivatives agree with central differences to 1e-6. Layers that draw random numbers are compared with PyTorch
in evaluation mode.

{layers}
## Functions

The functions of `nn.functional` that rows of `tests/operator_cases.py` call: whether derivatives are compared with
central differences (1e-6, float64), values with a formula in NumPy, values and derivatives with PyTorch's (1e-12), in
float32 with float64; whether both modes, and 1, 2, 3 and 7 threads, give the same bits. Elementary functions of tensors
are rows as well.

{functions}
## Optimisers

Values to 1e-12 in float64 and 1e-6 in float32; a state dict of PyTorch's is taken and the other way round.

{optimisers}
## Schedules

The rates of twenty steps, bit for bit; `resumed` from a state dict.

{schedules}
## Networks

Parameters that papers or torchvision state, multiply-adds of the SENet paper's table or torchvision's documentation,
the entries of torchvision's state dicts; further figures are in `tests/test_models.py`. The other columns are of the
class, at a small width.

{networks}"""


class Collected:
    """Names of classes and networks by test, "file::function"."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            function = getattr(item, "originalname", item.name)
            known = self.names.setdefault(f"{pathlib.Path(item.path).stem}::{function}", set())
            known.update((ABOUT[function],) if function in ABOUT else LEARNING.get(function, ()))
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            for value in parameters.values():
                name = value if isinstance(value, str) else getattr(value, "name", None)
                # Rows that the test skips.
                if function == "test_pytorch_agrees" and (
                    not getattr(value, "torch", True)
                    or (item.path.stem == "test_operators" and (value.random or "maxout" in value.name))
                ):
                    continue
                if isinstance(name, str):
                    known.update((name, COMBINED.get(name, name.split(" ")[0])))

    def mark(self, name: str, tests: Iterable[str]) -> str:
        return "✓" if any(name in self.names[test] for test in tests) else "–"


def collect(files: Iterable[str]) -> Collected:
    plugin = Collected()
    paths = [str(TESTS / f"{name}.py") for name in files]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-m", "", *paths], [plugin])
    if status != 0:
        raise SystemExit(output.getvalue())
    return plugin


def table(first: str, columns: Iterable[str], rows: Iterable[tuple[str, list[str]]]) -> str:
    headings = [first, *columns]
    lines = [f"| {' | '.join(headings)} |", f"|---|{':-:|' * (len(headings) - 1)}"]
    return "\n".join([*lines, *(f"| `{name}` | {' | '.join(cells)} |" for name, cells in rows)]) + "\n"


def marks(found: Collected, columns: dict[str, list[str]]) -> Callable[[str], list[str]]:
    return lambda name: [found.mark(name, tests) for tests in columns.values()]


def page() -> str:
    sys.path.insert(0, str(TESTS))
    columns = (LAYERS, FUNCTIONS, OPTIMISERS, SCHEDULES, NETWORKS, CLASSES)
    tests = {test for table in columns for chosen in table.values() for test in chosen}
    found = collect(sorted({test.partition("::")[0] for test in tests}))
    from operator_cases import CASES
    from test_catalogue import FUNCTIONS as NAMES
    from test_catalogue import OTHER_FORMS
    from test_every_layer import ALL, CONTAINERS
    from traced import rows_by_function

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = rows_by_function(CASES)

    def kinds(name: str) -> list[str]:
        cases = [case.name for case in rows[f"nn.functional.{name}"]]
        return ["✓" if any(found.names[test] & set(cases) for test in tests) else "–" for tests in FUNCTIONS.values()]

    classes = {}
    for name in models.list():
        with init.skipped():
            classes[name] = type(models.create(name)).__name__
    optimisers = [name for name in sorted(optim.__all__, key=str.lower) if is_kind(optim, name, optim.Optimizer)]
    schedulers = optim.lr_scheduler
    schedules = [name for name in sorted(schedulers.__all__) if is_kind(schedulers, name, schedulers.LRScheduler)]
    of_network, of_class = marks(found, NETWORKS), marks(found, CLASSES)
    return TEXT.format(
        layers=table("layer", LAYERS, ((n, marks(found, LAYERS)(n)) for n in sorted(ALL - CONTAINERS))),
        functions=table(
            "function", FUNCTIONS, ((n, kinds(n)) for n in sorted(NAMES - set(OTHER_FORMS)))
        ),
        optimisers=table("optimiser", OPTIMISERS, ((n, marks(found, OPTIMISERS)(n)) for n in optimisers)),
        schedules=table("schedule", SCHEDULES, ((n, marks(found, SCHEDULES)(n)) for n in schedules)),
        networks=table(
            "network", [*NETWORKS, *CLASSES], ((n, of_network(n) + of_class(kind)) for n, kind in classes.items())
        ),
    )  # fmt: skip


def is_kind(module: object, name: str, base: type) -> bool:
    value = getattr(module, name)
    return isinstance(value, type) and issubclass(value, base) and value is not base


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the file is as it should be")
    arguments = parser.parse_args()
    wanted = page()
    if arguments.check:
        current = FILE.exists() and FILE.read_text(encoding="utf-8") == wanted
        if not current:
            print(f"{FILE} is out of date: run python tools/generate_check_table.py", file=sys.stderr)
        return int(not current)
    FILE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
