"""What all networks share: a head that can be replaced, a body that can be frozen, stages whose outputs can be had."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn._shapes import recorded_only
from pycnn.autograd.grad_mode import no_grad
from pycnn.nn import init


class Network(nn.Module):
    """Base of the networks.

    Attributes:
        head_names: dotted names of the layers whose outputs are classes; empty if the network has none.
        stage_names: dotted names of the modules that end a stage, in order, for `Features`.
        auxiliary: names of modules that a network may be built without; `create` then leaves their weights out.
        old_names: regular expressions of names in published state dicts, and what replaces them.
    """

    head_names: tuple[str, ...] = ()
    stage_names: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
    old_names: tuple[tuple[str, str], ...] = ()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        for pattern, replacement in self.old_names:
            for key in list(state_dict):
                if key.startswith(prefix):
                    state_dict[re.sub(pattern, replacement, key)] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def classes_in(self, state: Mapping[str, Any]) -> int | None:
        """How many classes a state dict is for, None if it or the network has no head."""
        for name in self.head_names:
            weight = state.get(f"{name}.weight")
            if isinstance(weight, Tensor) and weight.dim() > 0:
                return int(weight.shape[0])
        return None

    def classifiers(self) -> list[nn.Module]:
        """The layers whose outputs are classes."""
        return [found for name in self.head_names if (found := _find(self, name)) is not None]

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the layers whose outputs are classes by new ones, drawn afresh, for `num_classes`.

        Errors: NotImplementedError if the network has no such layers.
        """
        if not self.head_names:
            raise NotImplementedError(f"{type(self).__name__} has no classifier to replace")
        for name in self.head_names:
            old = _find(self, name)
            if isinstance(old, nn.Linear):
                new: nn.Module = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
            elif isinstance(old, nn.Conv2d):
                new = nn.Conv2d(
                    old.in_channels, num_classes, old.kernel_size, old.stride, old.padding, bias=old.bias is not None
                )
            else:
                continue
            parent, _, last = name.rpartition(".")
            setattr(_find(self, parent), last, new)

    def freeze_body(self) -> None:
        """Only the classifier's parameters require grad from now on. Running statistics still move in training mode."""
        self.requires_grad_(False)
        for head in self.classifiers():
            head.requires_grad_(True)

    def parameter_groups(self, lr: float, body_lr: float) -> list[dict[str, Any]]:
        """Two groups for an optimiser: the body's parameters with the rate `body_lr`, the classifier's with `lr`."""
        head = [p for module in self.classifiers() for p in module.parameters()]
        known = {id(p) for p in head}
        body = [p for p in self.parameters() if id(p) not in known]
        return [{"params": body, "lr": body_lr}, {"params": head, "lr": lr}]


def _find(module: nn.Module, path: str) -> nn.Module | None:
    for name in path.split(".") if path else ():
        child = module._modules.get(name)
        if child is None:
            return None
        module = child
    return module


class _Done(Exception):
    """Ends a forward pass when the last stage is there."""


class Features(nn.Module):
    """The feature maps of a network's stages: (N, C, H, W) to a list of tensors, finest first.

    Args:
        model: the network, which stays reachable as `model`.
        input_size: the shape of an input without the batch, to find the channels.

    Attributes:
        channels: of each feature map.
    """

    channels: list[int]

    def __init__(self, model: Network, input_size: Sequence[int]) -> None:
        super().__init__()
        if not model.stage_names:
            raise ValueError(f"{type(model).__name__} has no stages to give features of")
        self.model = model
        was_training = model.training
        self.eval()
        with recorded_only(), no_grad():
            self.channels = [int(map.shape[1]) for map in self(_core.zeros((1, *input_size)))]
        self.train(was_training)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        maps: dict[str, Tensor] = {}
        owner = get_ident()  # hooks see other threads' calls of the same model as well
        last = self.model.stage_names[-1]
        handles = []
        for stage in self.model.stage_names:

            def keep(module: nn.Module, args: Any, output: Tensor, stage: str = stage) -> None:
                if get_ident() != owner:
                    return
                maps[stage] = output
                if stage == last:
                    raise _Done

            module = _find(self.model, stage)
            assert module is not None, stage
            handles.append(module.register_forward_hook(keep))
        try:
            self.model(*inputs)
        except _Done:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return [maps[stage] for stage in self.model.stage_names]


def initialize(model: nn.Module) -> None:
    """He et al. 2015: convolutions from a normal distribution of variance 2 / fan_out, no bias; linear layers of
    deviation 0.01, as torchvision's networks begin."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, 0.0, 0.01)
        else:
            continue
        if module.bias is not None:
            init.zeros_(module.bias)
