"""The optimiser, its rate, the loss scale and the average of the weights: all state in tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_pipeline.config import TrainingConfig
from hybrid_pipeline.schedule import scheduled_rate
from hybrid_pipeline.training.muon import Muon


def total_steps(config: TrainingConfig, num_train: int) -> int:
    """Updates of the whole run: epochs x floor(examples / batch), at least one.

    The incomplete batch at the end of an epoch is dropped (520 updates per epoch for 100,000
    examples in batches of 192).
    """
    per_epoch = max(1, num_train // config.global_batch_size)
    return max(1, round(config.epochs * per_epoch))


def warmup_steps(config: TrainingConfig, num_steps: int) -> int:
    """Warm-up in updates, from ``lr_warmup_steps`` or ``lr_warmup_ratio``."""
    if config.lr_warmup_steps is not None:
        return config.lr_warmup_steps
    return round((config.lr_warmup_ratio or 0.0) * num_steps)


def learning_rate(step: int, num_steps: int, config: TrainingConfig) -> float:
    """Rate of update ``step`` (from 0); the fall ends at ``lr * lr_min_ratio``."""
    return scheduled_rate(
        config.lr,
        step,
        num_steps,
        warmup=warmup_steps(config, num_steps),
        floor=config.lr_min_ratio,
        fall=config.lr_scheduler,
    )


class Optimizers:
    """Optimisers over different weights of one model, driven as one.

    Rates are tensors that ``set_rate`` fills, and whether an update is skipped is a tensor too, so
    nothing is read back to decide.

    Attributes:
        by_name: the optimisers.

    Args:
        optimizers: by name; every group has a tensor [] as its rate.
    """

    def __init__(self, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        self.by_name = dict(optimizers)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all."""
        return [group for each in self.by_name.values() for group in each.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for each in self.by_name.values():
            each.zero_grad(set_to_none=True)

    def set_rate(self, lr: float | Tensor) -> None:
        """Give every group the same rate, in place."""
        for group in self.param_groups:
            group["lr"].copy_(torch.as_tensor(lr))

    def rate_on(self, device: torch.device) -> None:
        """Bring the rates to the device: one that was read from a file lies on the host."""
        for group in self.param_groups:
            group["lr"] = group["lr"].to(device)

    def step(self, finite: Tensor) -> None:
        """Update all weights, unless ``finite`` [] is False."""
        for each in self.by_name.values():
            each.found_inf = (~finite).float()  # type: ignore[attr-defined]
            each.step()

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {name: each.state_dict() for name, each in self.by_name.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        for name, each in self.by_name.items():
            each.load_state_dict(state[name])


def build_optimizer(model: nn.Module, config: TrainingConfig) -> Optimizers:
    """AdamW over the trainable parameters, or Muon over hidden matrices and AdamW over the rest.

    Weights decay in matrices only, not in vectors (biases, norms, gates). Muon's matrices are the
    weights of linear layers, except the answer's ``head`` and layers with one output, as Jordan et
    al. (2024) advise. Embeddings and convolutions stay with AdamW.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    muon = _hidden_matrices(model) if config.optimizer == "muon" else []
    device = trainable[0].device
    rest = [p for p in trainable if not any(p is matrix for matrix in muon)]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers: dict[str, torch.optim.Optimizer] = {
        "adamw": torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=torch.tensor(config.lr, device=device),
            betas=(config.beta1, config.beta2),
            eps=config.adam_eps,
            fused=True,
            capturable=device.type == "cuda",
        )
    }
    if muon:
        optimizers["muon"] = Muon(
            muon,
            lr=torch.tensor(config.lr, device=device),
            ratio=config.muon_lr_ratio,
            momentum=config.muon_momentum,
            weight_decay=config.weight_decay,
        )
    return Optimizers(optimizers)


def _hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Trained weights of linear layers between the inputs and the answer."""
    head = getattr(model, "head", None)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    return [m.weight for m in linear if m.weight.requires_grad and m.out_features > 1]


class MovingAverage:
    """An exponential moving average of the trainable weights.

    The decay at update t is min(rate, (1 + t) / (10 + t)): a constant .999 has not forgotten
    the initial weights after a few hundred updates. The first update copies. What is counted and
    what is averaged are tensors, and an update that was skipped leaves both as they are.

    Attributes:
        module: a copy of the model with the averaged weights.
        num_averaged: int64 [], updates averaged so far.

    Args:
        model: what is averaged; its buffers and frozen weights are copied once.
        rate: the largest decay.
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.rate = rate
        pairs = zip(model.parameters(), self.module.parameters(), strict=True)
        trained = [(p, a) for p, a in pairs if p.requires_grad]
        self._current: list[Tensor] = [p for p, _ in trained]
        self._average: list[Tensor] = [a for _, a in trained]
        self.num_averaged = torch.zeros((), dtype=torch.int64, device=self._current[0].device)

    @torch.no_grad()
    def update(self, finite: Tensor) -> None:
        """Move towards the current weights, unless ``finite`` [] is False."""
        t = self.num_averaged
        decay = ((1 + t) / (10 + t)).clamp(max=self.rate)
        decay = torch.where(t == 0, 0.0, decay)
        decay = torch.where(finite, decay, 1.0)
        torch._foreach_mul_(self._average, decay)
        torch._foreach_add_(self._average, list(torch._foreach_mul(self._current, 1 - decay)))
        self.num_averaged += finite

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"module": self.module.state_dict(), "num_averaged": self.num_averaged}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.module.load_state_dict(state["module"])
        self.num_averaged.copy_(state["num_averaged"])


def build_ema(model: nn.Module, config: TrainingConfig) -> MovingAverage | None:
    """The moving average of the weights, or None where it is switched off."""
    return MovingAverage(model, config.ema_rate) if config.ema else None


class LossScale:
    """A loss scale that follows overflows, in tensors (Micikevicius et al., ICLR 2018, 3.2).

    It doubles after ``GROWTH_INTERVAL`` finite updates in a row and halves at one that is not, as
    PyTorch's ``GradScaler`` does. Where it is off it stays 1.

    Args:
        enabled: whether the loss is scaled: under fp16 only.
        device: of the scale.
    """

    INITIAL = 2.0**16
    GROWTH_INTERVAL = 2000

    def __init__(self, *, enabled: bool, device: torch.device | None = None) -> None:
        self.enabled = enabled
        self.scale = torch.tensor(self.INITIAL if enabled else 1.0, device=device)
        self.finite_in_a_row = torch.zeros((), dtype=torch.int64, device=device)

    def scaled(self, loss: Tensor) -> Tensor:
        """What to start the backward pass from."""
        return loss * self.scale if self.enabled else loss

    @torch.no_grad()
    def unscale_(self, gradients: list[Tensor]) -> None:
        """Divide gradients by the scale, in place."""
        if self.enabled:
            torch._foreach_mul_(gradients, 1 / self.scale)

    @torch.no_grad()
    def update(self, finite: Tensor) -> None:
        """Grow or shrink after an update whose loss and gradient were ``finite`` [] or not."""
        if not self.enabled:
            return
        count = torch.where(finite, self.finite_in_a_row + 1, 0)
        grown = torch.where(count == self.GROWTH_INTERVAL, self.scale * 2, self.scale)
        self.scale.copy_(torch.where(finite, grown, self.scale / 2))
        self.finite_in_a_row.copy_(count % self.GROWTH_INTERVAL)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"scale": self.scale, "finite_in_a_row": self.finite_in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From the checkpoint."""
        self.scale.copy_(state["scale"])
        self.finite_in_a_row.copy_(state["finite_in_a_row"])
