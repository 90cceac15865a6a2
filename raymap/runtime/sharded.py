"""Weights, their averages, gradients and optimizer states cut over the workers (PyTorch's FSDP), for large models.

Between steps every worker holds its part of all of them; within a step it holds all weights once. Checkpoints are
whole, so a training may go on with another number of workers, or uncut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

#: What a trainer calls of a model beside its forward; weights are put together for these too.
_CALLED = ("validation_loss", "validation_score")


def cut(models: Iterable[nn.Module], optimizers: Iterable[torch.optim.Optimizer], device: str, world: int) -> None:
    """Cut models, equal on all workers, and the optimizers of their parameters, in place."""
    mesh, cut_of = init_device_mesh(device, (world,)), {}
    for model in models:
        before = list(model.parameters())
        for parameter in before:
            # Some convolutions are stored with their channels last, which cannot be cut.
            parameter.data = parameter.data.contiguous()
        fully_shard(model, mesh=mesh, reshard_after_forward=False)
        for name in _CALLED:
            register_fsdp_forward_method(model, name)
        cut_of |= dict(zip(before, model.parameters(), strict=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["params"] = [cut_of[parameter] for parameter in group["params"]]
        states = {cut_of[parameter]: state for parameter, state in optimizer.state.items()}
        optimizer.state.clear()
        for parameter, state in states.items():
            optimizer.state[parameter] = {name: _like(value, parameter) for name, value in state.items()}


def _like(value: Any, parameter: DTensor) -> Any:
    """A moment of an optimizer cut as its parameter is; counters stay as they are."""
    if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim():
        return distribute_tensor(value.contiguous(), parameter.device_mesh, parameter.placements)
    return value


def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """This worker's part of each tensor; a tensor that is not cut, whole."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]


def whole(values: Any) -> Any:
    """The same with all tensors put together, for a checkpoint. Every worker must call it."""
    if isinstance(values, DTensor):
        return values.full_tensor()
    if isinstance(values, Mapping):
        return {name: whole(value) for name, value in values.items()}
    return [whole(value) for value in values] if isinstance(values, list | tuple) else values
