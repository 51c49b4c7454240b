"""AdamW, the learning-rate schedule and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from hybrid_pipeline.config import TrainingConfig


def total_steps(config: TrainingConfig, num_train: int) -> int:
    """Updates of the whole run: epochs x floor(examples / batch), at least one.

    The incomplete batch at the end of an epoch is dropped (520 updates an epoch for 100,000
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
    """Rate of update ``step`` (from 0): linear warm-up, then cosine, linear or constant.

    The cosine ends at ``lr * lr_min_ratio`` (Loshchilov and Hutter, 2017, equation 5).
    """
    warmup = warmup_steps(config, num_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.lr_scheduler == "constant":
        return config.lr
    done = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    falling = 0.5 * (1 + math.cos(math.pi * done)) if config.lr_scheduler == "cosine" else 1 - done
    return config.lr * (config.lr_min_ratio + (1 - config.lr_min_ratio) * falling)


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; weight decay on matrices only.

    Vectors (biases, norms, gates) are not decayed.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.adam_eps
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the same rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def build_ema(model: nn.Module, config: TrainingConfig) -> AveragedModel | None:
    """An exponential moving average of the weights, or None where it is switched off.

    The decay at update t is min(ema_rate, (1 + t) / (10 + t)): a constant .999 has not forgotten
    the initial weights after a few hundred updates.
    """
    if not config.ema:
        return None

    def average(averaged: Iterable[Tensor], current: Iterable[Tensor], count: Tensor | int) -> None:
        t = int(count)
        decay = min(config.ema_rate, (1 + t) / (10 + t))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=False)
