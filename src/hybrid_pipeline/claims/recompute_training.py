"""Recomputations of stated settings: schedules, sizes, learning rates, and what sources say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hybrid_pipeline.claims.recomputed import Recomputed


def num_batches(num_samples: int, batch_size: int) -> int:
    """Batches an epoch, the last one smaller."""
    return math.ceil(num_samples / batch_size)


def batches_per_epoch(num_samples: int, batch_size: int) -> Recomputed:
    """Batches an epoch, with and without the last."""
    dropped = num_samples // batch_size
    return Recomputed(
        (float(num_batches(num_samples, batch_size)),), f"{dropped} with the last batch dropped."
    )


def steps_in_epochs(
    steps: int, num_samples: int, batch_size: int, larger_num_samples: int
) -> Recomputed:
    """Optimiser steps as epochs, at the stated and at the larger number of samples."""
    larger = steps / num_batches(larger_num_samples, batch_size)
    return Recomputed(
        (steps / num_batches(num_samples, batch_size),),
        f"{larger:.2f} epochs at {larger_num_samples:,} samples.",
    )


def ratio_in_steps(
    ratio: float, num_samples: int, batch_size: int, epochs: int, larger_num_samples: int
) -> Recomputed:
    """A share of training as optimiser steps."""
    steps = ratio * epochs * num_batches(num_samples, batch_size)
    larger = ratio * epochs * num_batches(larger_num_samples, batch_size)
    return Recomputed(
        (steps,), f"{larger:,.0f} steps at {larger_num_samples:,} samples: not equivalent."
    )


def product(factors: Sequence[float]) -> Recomputed:
    """A plain product."""
    return Recomputed((math.prod(factors),))


def share(part: float, whole: float) -> Recomputed:
    """A part of a whole."""
    return Recomputed((part / whole,), "Arithmetic only.")


def implied_throughput(hours: float, ratio: float, epochs: int, num_samples: int) -> Recomputed:
    """What a stated duration of a share of training implies; nothing in the text confirms it."""
    seconds = hours * 3600 / (ratio * epochs)
    return Recomputed(
        (seconds,),
        f"It implies {seconds:.0f} s per epoch, {num_samples / seconds:.0f} samples/s and "
        f"{hours / ratio:.0f} h in all.",
        "not_verifiable",
        "not verifiable",
        "seconds per epoch",
    )


def dqn_start_in_warmup(
    ratio: float,
    other_ratio: float,
    warmup_steps: int,
    num_samples: int,
    batch_size: int,
    epochs: int,
) -> Recomputed:
    """Whether DQN would start before the learning rate has warmed up."""
    steps = epochs * num_batches(num_samples, batch_size)
    start, other = ratio * steps, other_ratio * steps
    detail = f"With {other_ratio:g} it would start at step {other:,.0f}."
    if start < warmup_steps:
        return Recomputed(
            (start,),
            detail,
            "contradicts",
            f"contradicts the warm-up of {warmup_steps:,} steps: DQN starts inside it at step "
            f"{start:,.0f}; couple the two",
        )
    return Recomputed((start,), detail, "holds", "holds: DQN starts after the warm-up")


def sqrt_ratio(numerator: float, denominator: float) -> Recomputed:
    """The square root of a ratio."""
    return Recomputed((math.sqrt(numerator / denominator),))


def scaled_rate(base: float, numerator: float, denominator: float) -> Recomputed:
    """A learning rate times the square root of a ratio."""
    return Recomputed(
        (base * math.sqrt(numerator / denominator),),
        'The formula raises the rate instead of lowering it, and depends on the unit "millions".',
    )


def vision_tower_millions(patch_size: int, other_patch_size: int) -> Recomputed:
    """Parameters of CLIP's ViT-B vision tower at 224 pixels, counted from its shape."""
    other = count_vit_b(other_patch_size) / 1e6
    return Recomputed(
        (count_vit_b(patch_size) / 1e6,),
        f"ViT-B/{patch_size}; ViT-B/{other_patch_size} has {other:.2f} million.",
    )


def count_vit_b(patch_size: int) -> int:
    """Parameters of CLIP's ViT-B vision tower (Radford et al. 2021), projection included."""
    width, depth, image, out = 768, 12, 224, 512
    embedding = width * 3 * patch_size**2 + width + ((image // patch_size) ** 2 + 1) * width
    attention = 4 * width * width + 4 * width
    mlp = 8 * width * width + 5 * width
    block = attention + mlp + 4 * width
    return embedding + depth * block + 4 * width + width * out


def activation_memory(
    mib_per_sample: float, batch_size: int, other_gib: float, usable_gib: float
) -> Recomputed:
    """Memory of a trained ViT's activations plus weights, states and CLIP, in GB (10^9 bytes)."""
    activations = mib_per_sample * batch_size / 1024
    total = activations + other_gib
    return Recomputed(
        (total * 1024**3 / 1e9,),
        f"That is {total:.2f} GiB. The activations of the trained ViT take {activations:.1f} "
        f"GiB; TRM and COCONUT come on top, and {usable_gib:g} GiB are usable.",
    )


def frozen_rate(num_trainable: int) -> Recomputed:
    """The effect of a learning rate on weights of which ``num_trainable`` are trained."""
    if num_trainable == 0:
        return Recomputed(
            (0.0,), "No weight changes, whatever the rate.", "no_effect", "no effect",
            "trained weights",
        )  # fmt: skip
    return Recomputed((float(num_trainable),), "", "not_verifiable", "not verifiable")


# --- sources -----------------------------------------------------------------------------------

LIBRARY_DEFAULTS: Mapping[str, tuple[tuple[float, ...], str]] = {
    "adamw_beta2": ((0.999,), "torch.optim.AdamW, whose betas are 0.9 and 0.999"),
    "adamw_weight_decay": ((0.01,), "torch.optim.AdamW"),
    "ema_decay": ((0.999,), "torch.optim.swa_utils.get_ema_avg_fn; timm has 0.9999"),
}
LITERATURE: Mapping[str, str] = {
    "dqn_beta2": "The 2015 DQN used RMSProp, which has no beta2; Rainbow's Adam leaves beta2 at "
    "its default, 0.999.",
}


def library_default(name: str) -> Recomputed:
    """What the library that people mean by "standard" has as its default."""
    values, where = LIBRARY_DEFAULTS[name]
    return Recomputed(values, f"The default of {where}.")


def literature(name: str) -> Recomputed:
    """What the papers that a statement appeals to did."""
    return Recomputed((), LITERATURE[name], "not_supported", "not supported")


def no_source(reason: str) -> Recomputed:
    """A figure without a source or a description from which it could be computed."""
    return Recomputed((), reason, "not_verifiable", "not verifiable")
