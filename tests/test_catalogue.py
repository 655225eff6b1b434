"""Every function and operator has a row in the operator table; the page that lists the checks is current."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from case import Case
from operator_cases import CASES
from traced import rows_by_function

import pycnn
from pycnn.nn import functional

FUNCTIONS = {
    name for name, value in vars(functional).items()
    if not name.startswith("_") and callable(value) and getattr(value, "__module__", "").startswith("pycnn")
    and not isinstance(value, type)
}  # fmt: skip
# Another name or the in-place form of a function with rows, and where it is checked.
OTHER_FORMS = {
    "logsigmoid": "test_losses.py",
    "dropout1d": "test_every_layer.py", "dropout2d": "test_every_layer.py", "dropout3d": "test_every_layer.py",
    "alpha_dropout": "test_vision_layers.py", "feature_alpha_dropout": "test_vision_layers.py",
    **dict.fromkeys((name for name in FUNCTIONS if name.endswith("_with_indices")), "test_vision_layers.py"),
    **dict.fromkeys(("upsample", "upsample_bilinear", "upsample_nearest"), "test_vision_layers.py"),
    **dict.fromkeys((name for name in FUNCTIONS if name.endswith("_") and name[:-1] in FUNCTIONS), "test_losses.py"),
}  # fmt: skip
# Functions and methods that compute nothing from tensors that a row could compare, and where they are tested.
NOT_OPERATORS = {
    "new tensors (test_tensor.py)": "arange|as_tensor|asarray|empty(_like|_strided)?|eye|full(_like)?|"
    "linspace|scalar_tensor|logspace|range|(tril|triu)_indices|.*_window|tensor|(ones|zeros)(_like)?|from_(dlpack|numpy)|new_.*|"
    "copy_|fill_|zero_",
    "storage (test_tensor_storage.py)": "new|empty_permuted|dim_order",
    "random numbers (test_random.py)": "bernoulli_?|binomial|poisson|multinomial|cauchy_|exponential_|geometric_|"
    "log_normal_|normal_?|uniform_|random_|rand.*|(initial_)?seed|manual_seed",
    "dtypes, devices, layout (test_tensor.py)": "bfloat16|bool|byte|char|double|float|half|int|long|short|to|type|"
    "type_as|typename|data_ptr|share_memory_|cpu|cuda|pin_memory|can_cast|promote_types|result_type|element_size|storage_offset|stride|size|dim|ndimension|"
    "nelement|numel|broadcast_shapes|is_.*",
    "streams of GPUs (test_cuda_streams.py)": "record_stream",
    "values (test_tensor.py)": "item|numpy|tolist",
    "derivatives (test_autograd.py)": "backward|register_hook|register_post_accumulate_grad_hook|requires_grad_|"
    "retain_grad",
    "the library's state": "(get|set)_.*|.*autocast.*|active_level|algorithms|available_levels|force_algorithm|"
    "clear_.*|empty_cache|eval|compile|describe_plan|measure_peak|memory_statistics|(start|stop)_profiling|statistics|summary|"
    "(use|are)_deterministic_algorithms.*",
    "files (test_serialization.py)": "load|save|load_idx",
}
ROWS_UNDER_OTHER_NAMES = r"imag|\w+_with_indices|affine_grid_generator|feature_dropout|(frobenius|nuclear)_norm"


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Case]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rows_by_function(CASES)


def test_every_function_has_a_row(rows: dict[str, list[Case]]) -> None:
    assert sorted(name for name in FUNCTIONS - set(OTHER_FORMS) if f"nn.functional.{name}" not in rows) == []


def test_every_operator_has_a_row(rows: dict[str, list[Case]]) -> None:
    """Functions of the package and methods of tensors: one row for both and for the form in place."""
    names = {
        name for owner in (pycnn, pycnn.Tensor) for name in dir(owner)
        if not name.startswith("_") and callable(getattr(owner, name)) and not isinstance(getattr(owner, name), type)
    }  # fmt: skip
    excused = re.compile("|".join([*NOT_OPERATORS.values(), ROWS_UNDER_OTHER_NAMES]))
    with_rows = {name.split(".")[-1].rstrip("_") for name in rows}
    without = {name for name in names if name.rstrip("_") not in with_rows and not excused.fullmatch(name)}
    assert sorted(without - set(OTHER_FORMS)) == []


def test_the_page_of_checks_is_current() -> None:
    tool = Path(__file__).parent.parent / "tools" / "generate_check_table.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
