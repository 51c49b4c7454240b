"""Recomputations of stated figures, by name; ``claims.yml`` says which one and with which inputs.

A function takes the inputs as keyword arguments and returns what the arithmetic gives. It fixes a
verdict only if equality with the stated value is not the question (contradictions, statements
without a source, settings without effect).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hybrid_pipeline.claims.recompute_gains import (
    additive_total,
    compound_factor,
    compound_of_gains,
    compound_range,
    compound_without,
    independent_range,
    inside_own_ranges,
    ranges_agree,
    sum_of_gains,
)
from hybrid_pipeline.claims.recompute_training import (
    activation_memory,
    batches_per_epoch,
    dqn_start_in_warmup,
    frozen_rate,
    implied_throughput,
    library_default,
    literature,
    no_source,
    product,
    ratio_in_steps,
    scaled_rate,
    share,
    sqrt_ratio,
    steps_in_epochs,
    vision_tower_millions,
)
from hybrid_pipeline.claims.recomputed import Recomputed

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
