"""The networks of pycnn.models on PyTorch: their files read with PyTorch's layers under pycnn's names."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pycnn


def models_on_torch(torch: Any) -> ModuleType:
    """The package pycnn.models, executed anew, where `nn`, `_core` and all else of pycnn is PyTorch."""
    package, nn = ModuleType("pycnn"), ModuleType("pycnn.nn")
    nn.__dict__.update(vars(torch.nn))
    package.nn, package._core, package.__path__ = nn, torch, []
    shapes, grad_mode, files = (ModuleType(name) for name in ("_shapes", "grad_mode", "serialization"))
    shapes.recorded_only, grad_mode.no_grad, files.load = contextlib.nullcontext, torch.no_grad, torch.load
    substitutes = {
        "pycnn": package, "pycnn._core": torch, "pycnn.nn": nn, "pycnn.nn.functional": torch.nn.functional,
        "pycnn.nn.init": torch.nn.init, "pycnn._shapes": shapes, "pycnn.autograd": torch.autograd,
        "pycnn.autograd.grad_mode": grad_mode, "pycnn.serialization": files,
        **{f"pycnn.nn.{name}": getattr(torch.nn.modules, name) for name in ("activation", "conv", "module", "pooling")},
    }  # fmt: skip
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "pycnn"}
    for name in ours:
        del sys.modules[name]
    sys.modules.update(substitutes)
    try:
        # Blocks that PyTorch does not have are made of its layers as well.
        blocks = Path(pycnn.nn.__file__).parent / "blocks.py"
        if blocks.exists():
            found = vars(_executed("pycnn.nn.blocks", blocks))
            nn.__dict__.update({name: value for name, value in found.items() if isinstance(value, type)})
        folder = Path(pycnn.models.__file__).parent
        return _executed("pycnn.models", folder / "__init__.py", submodule_search_locations=[str(folder)])
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "pycnn"]:
            del sys.modules[name]
        sys.modules.update(ours)


def _executed(name: str, file: Path, **options: Any) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file, **options)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
