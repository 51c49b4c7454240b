"""Muon: momentum whose matrix is replaced by the nearest one with orthonormal rows or columns.

Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks"; the size of the
update as in Liu et al. (2025), arXiv 2502.16982, section 2.2. ``torch.optim.Muon`` computes the
same in bfloat16, a matrix at a time, and reads its rate back to the host. This one computes in the
matrices' own precision, so that processors without bfloat16 agree; it stacks matrices of one shape;
and its rate and what makes it skip an update are tensors, so that a CUDA graph can hold it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al.: the steepest at 0 that stays near 1
NUM_ITERATIONS = 5
ADAMW_SIZE = 0.2  # root mean square of an element of AdamW's update, in rates (Liu et al.)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices with their singular values brought near 1 by Newton-Schulz iterations.

    Five steps of the quintic leave singular values between about .7 and 1.2. The smallest ones
    stay smaller, and a matrix of zeros stays zero.

    Args:
        matrices: [N, R, C].

    Returns:
        [N, R, C].
    """
    a, b, c = QUINTIC
    turned = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if turned else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if turned else x


class Muon(torch.optim.Optimizer):
    """Muon over matrices, with Nesterov momentum and decoupled weight decay.

    With rate r, ratio q, decay d and a matrix W [R, C]:
    W <- (1 - r d) W - .2 q r sqrt(max(R, C)) orthogonalised(momentum).
    At q = 1 an element changes about as much as under AdamW. A tensor ``found_inf`` of 1 set on
    the optimiser makes it skip the update, as PyTorch's fused AdamW does.

    Args:
        params: matrices [R, C].
        lr: the rate r, a tensor [].
        ratio: q.
        momentum: of the gradient's average.
        weight_decay: d.

    Raises:
        ValueError: for a parameter that is no matrix.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: Tensor,
        ratio: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        defaults = {"lr": lr, "ratio": ratio, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        shapes = [tuple(p.shape) for group in self.param_groups for p in group["params"]]
        if other := [shape for shape in shapes if len(shape) != 2]:
            raise ValueError(f"Muon updates matrices, not a parameter of shape {other[0]}")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; a closure is not called."""
        del closure
        for group in self.param_groups:
            for matrices in _of_one_shape(group["params"]):
                self._step(matrices, group)

    def _step(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        averages = [self._average(p) for p in matrices]
        old, momentum, lr = torch.stack(averages), group["momentum"], group["lr"]
        gradient = torch.stack([p.grad for p in matrices if p.grad is not None])
        average = torch.lerp(gradient, old, momentum)
        size = group["ratio"] * ADAMW_SIZE * max(matrices[0].shape) ** 0.5
        weights = torch.stack(matrices)
        changed = weights * (1 - lr * group["weight_decay"])
        changed -= lr * size * orthogonalised(torch.lerp(gradient, average, momentum))
        if self.found_inf is not None:
            skips = self.found_inf.bool()
            changed = torch.where(skips, weights, changed)
            average = torch.where(skips, old, average)
        torch._foreach_copy_(matrices, list(changed.unbind()))
        torch._foreach_copy_(averages, list(average.unbind()))

    def _average(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum_buffer"]
        return average


def _of_one_shape(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters with a gradient, those of one shape together."""
    by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            by_shape[parameter.shape].append(parameter)
    yield from by_shape.values()
