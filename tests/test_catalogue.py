"""Every function of nn.functional has a row in the operator table; the page that lists the checks is current."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

from operator_cases import CASES
from traced import rows_by_function

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


def test_every_function_has_a_row() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = rows_by_function(CASES)
    assert sorted(name for name in FUNCTIONS - set(OTHER_FORMS) if f"nn.functional.{name}" not in rows) == []


def test_the_page_of_checks_is_current() -> None:
    tool = Path(__file__).parent.parent / "tools" / "generate_check_table.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
