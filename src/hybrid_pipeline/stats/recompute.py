"""Recomputations of stated figures, by name; ``claims.yml`` says which one and with which inputs.

A function takes the inputs as keyword arguments and returns what the arithmetic gives. It fixes a
verdict only where equality with the stated value is not the question (contradictions, statements
without a source, settings without effect).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybrid_pipeline.stats.results import ClaimCode

Ranges = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Recomputed:
    """What a recomputation found.

    Attributes:
        values: one value, or the low and high end of a range.
        detail: a sentence about it.
        code: the verdict, where comparing with the stated value does not decide it.
        verdict: the words of that verdict.
        unit: of ``values`` where it differs from the statement's.
    """

    values: tuple[float, ...] = ()
    detail: str = ""
    code: ClaimCode | None = None
    verdict: str = ""
    unit: str | None = None


def percent(value: float, decimals: int = 1) -> str:
    """A fraction as a percentage."""
    return f"{100 * value:.{decimals}f} %"


# --- gains -------------------------------------------------------------------------------------


def sum_of_gains(gains: Sequence[float]) -> Recomputed:
    """Gains added up, as if they were points."""
    return Recomputed((math.fsum(gains),))


def compound_factor(gains: Sequence[float]) -> Recomputed:
    """The product of 1 + gain."""
    return Recomputed((compound_gain(gains) + 1,))


def compound_of_gains(gains: Sequence[float]) -> Recomputed:
    """The product of 1 + gain, less 1."""
    return Recomputed((compound_gain(gains),))


def compound_gain(gains: Sequence[float]) -> float:
    """Relative gain of stages that multiply."""
    return math.prod(1 + gain for gain in gains) - 1


def compound_range(low: Sequence[float], high: Sequence[float]) -> Recomputed:
    """The corner products of a table: every low end, every high end."""
    return Recomputed((compound_gain(low), compound_gain(high)))


def independent_range(
    stated: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> Recomputed:
    """The range of a product of independent stages: root-sum-square of the log half-widths."""
    log_low, log_high = np.log1p(low), np.log1p(high)
    centre = float((log_low + log_high).sum() / 2)
    half = float(np.sqrt((((log_high - log_low) / 2) ** 2).sum()))
    ends = (math.expm1(centre - half), math.expm1(centre + half))
    if ends[0] - stated[0] > 5e-3 and stated[1] - ends[1] > 5e-3:
        return Recomputed(
            ends,
            "Low times low and high times high are corner products; independent stages add their "
            "log half-widths as a root-sum-square.",
            "does_not_hold",
            f"does not hold, too wide if stages are independent: {_span(ends)}",
        )
    return Recomputed(ends)


def compound_without(
    low: Mapping[str, float], high: Mapping[str, float], baseline: str
) -> Recomputed:
    """A table's total without the component that is the baseline itself."""
    kept = [name for name in low if name != baseline]
    total = compound_range([low[n] for n in kept], [high[n] for n in kept])
    if len(kept) == len(low):
        return Recomputed(total.values, f"{baseline} is not in the table.")
    return Recomputed(
        total.values,
        f"{_span(total.values)} without it.",
        "contradicts",
        f"contradicts the ablation, whose baseline is the {baseline}: counted twice",
    )


def additive_total(
    stated: Sequence[float], low: Sequence[float], high: Sequence[float], rejected_in: str
) -> Recomputed:
    """Whether a stated range is the plain sum of a table's columns."""
    sums = (math.fsum(low), math.fsum(high))
    if all(math.isclose(a, b, abs_tol=5e-3) for a, b in zip(stated, sums, strict=True)):
        return Recomputed(
            sums,
            "The ends are the additive sums of the table's columns.",
            "contradicts",
            f"contradicts {rejected_in!r}: it uses the arithmetic the document rejects",
        )
    return Recomputed(sums)


def inside_own_ranges(stated: float, ranges: Mapping[str, Mapping[str, Any]]) -> Recomputed:
    """Whether a value that the document calls unrealistic lies inside its own tables."""
    totals = {name: compound_range(**table).values for name, table in ranges.items()}
    around = [n for n, (low, high) in totals.items() if low <= stated <= high]
    shown = ", ".join(f"{n} {_span(totals[n])}" for n in around)
    if around:
        return Recomputed(
            (stated,),
            "",
            "contradicts",
            f"contradicts its own tables: inside {shown}",
        )
    return Recomputed((stated,), "Outside every table of the document.", "holds", "holds")


def ranges_agree(stated: Ranges, tables: Mapping[str, Mapping[str, Any]]) -> Recomputed:
    """Whether ranges stated for one and the same quantity are the same range."""
    totals = {name: compound_range(**table).values for name, table in tables.items()}
    shown = ", ".join(f"{name} {_span(ends)}" for name, ends in totals.items())
    distinct = {tuple(ends) for ends in stated.values()}
    if len(distinct) > 1:
        spans = ", ".join(f"{name} {_span(ends, 0)}" for name, ends in stated.items())
        return Recomputed(
            (),
            f"Its tables give {shown}.",
            "contradicts",
            f"mutually inconsistent: {spans}",
        )
    return Recomputed((), f"Its tables give {shown}.", "holds", "holds")


def _span(ends: Sequence[float], decimals: int = 1) -> str:
    return f"{100 * ends[0]:+.{decimals}f} to {100 * ends[1]:+.{decimals}f} %"


# --- schedule ----------------------------------------------------------------------------------


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
        f"It implies {seconds:.0f} s an epoch, {num_samples / seconds:.0f} samples/s and "
        f"{hours / ratio:.0f} h in all.",
        "not_verifiable",
        "not verifiable",
        "seconds an epoch",
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


# --- sizes and rates ---------------------------------------------------------------------------


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
    """Memory of a trained ViT's activations plus weights, states and CLIP, in GiB."""
    activations = mib_per_sample * batch_size / 1024
    return Recomputed(
        (activations + other_gib,),
        f"Activations of the trained ViT alone take {activations:.1f} GiB; TRM and COCONUT come "
        f"on top, and {usable_gib:g} GiB are usable.",
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


RECOMPUTATIONS: Mapping[str, Callable[..., Recomputed]] = {
    function.__name__: function
    for function in (
        sum_of_gains,
        compound_factor,
        compound_of_gains,
        compound_range,
        independent_range,
        compound_without,
        additive_total,
        inside_own_ranges,
        ranges_agree,
        batches_per_epoch,
        steps_in_epochs,
        ratio_in_steps,
        product,
        share,
        implied_throughput,
        dqn_start_in_warmup,
        sqrt_ratio,
        scaled_rate,
        vision_tower_millions,
        activation_memory,
        frozen_rate,
        library_default,
        literature,
        no_source,
    )
}
