"""Rules on batch, memory and length of training."""

from __future__ import annotations

from hybrid_pipeline.review.findings import Finding, ReviewInputs, Support, fix
from hybrid_pipeline.review.registry import register_rule
from hybrid_pipeline.text_tables import percent

_GIB = 2**30
_SMALLEST_BATCH = 8  # below it an advice to shrink the batch would be worse than the few updates


@register_rule
def batch_memory(inputs: ReviewInputs) -> Finding | None:
    """The batch against the memory of the device, measured if a probe has run."""
    if inputs.training.device == "cpu":
        return None
    batch = inputs.training.micro_batch_size or inputs.training.global_batch_size
    known = inputs.measured.peak_memory_gib is not None
    if not known and inputs.counts.trainable < inputs.rules.memory_rule_from_parameters:
        return None
    needed, is_measured = needed_gib(inputs, batch), known and batch == _measured_at(inputs)
    share = needed / inputs.rules.device_memory_gib
    fits = share <= inputs.rules.max_memory_share
    smaller = None if fits else largest_fitting_batch(inputs)
    words = "fits" if fits else "does not fit safely"
    source = _memory_source(inputs, batch)
    change = "" if smaller is None else f" Accumulate micro-batches of {smaller}."
    return Finding(
        id="batch_memory" if not fits else "batch_memory_fits",
        severity="note" if fits else "error",
        path="training.micro_batch_size",
        value=inputs.training.micro_batch_size,
        computed={
            "batch": batch,
            "needed_gib": round(needed, 2),
            "device_gib": inputs.rules.device_memory_gib,
            "share": round(share, 3),
            "peak_is_measured": is_measured,
        },
        recommendation=(
            f"A micro-batch of {batch} needs {needed:.1f} GiB ({source}), "
            f"{percent(share)} of {inputs.rules.device_memory_gib:g} GiB: it {words}.{change}"
        ),
        quote="Uses 12GB / 15GB VRAM (80% utilization)",
        evidence=_memory_evidence(fits, is_measured),
        autofix=None if smaller is None else fix(training__micro_batch_size=smaller),
    )


def _memory_evidence(fits: bool, is_measured: bool) -> Support:
    if not fits:
        return "contradicted"
    return "measured" if is_measured else "heuristic"


def _measured_at(inputs: ReviewInputs) -> int:
    return inputs.measured.peak_memory_batch or inputs.training.global_batch_size


def _memory_source(inputs: ReviewInputs, batch: int) -> str:
    peak, at = inputs.measured.peak_memory_gib, _measured_at(inputs)
    if peak is None:
        return "estimated, before TRM and COCONUT"
    return "measured" if batch == at else f"scaled from {peak:g} GiB measured at {at}"


def needed_gib(inputs: ReviewInputs, batch: int) -> float:
    """GiB of one micro-batch: a measured peak, scaled as the estimate, or the estimate."""
    peak = inputs.measured.peak_memory_gib
    if peak is None:
        return memory_gib(inputs, batch)
    return peak * memory_gib(inputs, batch) / memory_gib(inputs, _measured_at(inputs))


def memory_gib(inputs: ReviewInputs, batch: int) -> float:
    """GiB of states, frozen weights in half precision and kept activations of one micro-batch.

    Activations per sample were measured for a trained 86M ViT-B/16 (63.3 MiB; 7.8 MiB with
    gradient checkpointing); TRM and COCONUT come on top.
    """
    rules = inputs.rules
    mib = rules.activation_mib_per_sample
    if inputs.training.gradient_checkpointing:
        mib = rules.checkpointed_mib_per_sample
    states = rules.state_bytes_per_parameter * inputs.counts.trainable + 2 * inputs.counts.frozen
    return batch * mib / 1024 + states / _GIB


def largest_fitting_batch(inputs: ReviewInputs) -> int | None:
    """The largest divisor of the global batch that fits and is smaller than the present one."""
    size = inputs.training.global_batch_size
    present = inputs.training.micro_batch_size or size
    allowed = inputs.rules.max_memory_share * inputs.rules.device_memory_gib
    fitting = [b for b in range(1, present) if size % b == 0 and needed_gib(inputs, b) <= allowed]
    return max(fitting, default=None)


@register_rule
def effective_batch(inputs: ReviewInputs) -> Finding:
    """The batch that an update sees, under accumulation."""
    size, micro = inputs.training.global_batch_size, inputs.training.micro_batch_size
    parts = 1 if micro is None else size // micro
    too_large = size > inputs.num_train
    if not too_large and inputs.total_steps < inputs.rules.min_total_steps:
        return _few_updates(inputs)
    fitting = _batch_of_enough_updates(inputs) or inputs.num_train
    return Finding(
        id="batch_above_data" if too_large else "batch_effective",
        severity="error" if too_large else "note",
        path="training.global_batch_size",
        value=size,
        computed={
            "micro_batch_size": micro or size,
            "accumulated": parts,
            "batches_per_epoch": inputs.steps_per_epoch,
            "share_of_data": round(size / inputs.num_train, 5),
        },
        recommendation=(
            f"The batch is larger than the {inputs.num_train:,} training examples."
            if too_large
            else f"Keep: {parts} x {micro or size} examples per update, "
            f"{inputs.steps_per_epoch:,} updates per epoch."
        ),
        quote="Large enough for stable gradients",
        evidence="heuristic",
        autofix=_batch_fix(inputs, fitting) if too_large else None,
    )


def _few_updates(inputs: ReviewInputs) -> Finding:
    size, wanted = inputs.training.global_batch_size, inputs.rules.min_total_steps
    smaller = _batch_of_enough_updates(inputs)
    change = "Train longer or on more examples."
    if smaller is not None:
        change = f"A batch of {smaller} gives {inputs.total_steps_at(smaller):,}."
    return Finding(
        id="updates_few",
        severity="warning",
        path="training.global_batch_size",
        value=size,
        computed={
            "total_steps": inputs.total_steps,
            "wanted": wanted,
            "batches_per_epoch": inputs.steps_per_epoch,
            "share_of_data": round(size / inputs.num_train, 5),
        },
        recommendation=(
            f"Updates of the run: {inputs.total_steps:,} ({inputs.steps_per_epoch:,} per epoch). "
            f"Below {wanted} neither the rate's schedule nor the DQN has room. {change}"
        ),
        quote="Large enough for stable gradients",
        evidence="heuristic",
        autofix=None if smaller is None else _batch_fix(inputs, smaller),
    )


@register_rule
def epochs(inputs: ReviewInputs) -> list[Finding]:
    """The length of training against overfitting, and how often it is checked."""
    return [
        *_overfitting(inputs),
        *_too_long(inputs),
        *_validations(inputs),
        _presentations(inputs),
    ]


def _overfitting(inputs: ReviewInputs) -> list[Finding]:
    start = inputs.measured.overfit_from_epoch
    if start is None or inputs.training.epochs <= start:
        return []
    return [
        Finding(
            id="epochs_overfit",
            severity="warning",
            path="training.epochs",
            value=inputs.training.epochs,
            computed={"overfits_from_epoch": start},
            recommendation=f"An earlier run overfitted from epoch {start:g}; stop there.",
            quote="If overfitting early: reduce to 30-40",
            evidence="measured",
            autofix=fix(training__epochs=start),
        )
    ]


def _too_long(inputs: ReviewInputs) -> list[Finding]:
    limit = inputs.rules.max_epochs
    if inputs.training.epochs <= limit:
        return []
    earliest = inputs.measured.overfit_from_epoch
    return [
        Finding(
            id="epochs_many",
            severity="advice",
            path="training.epochs",
            value=inputs.training.epochs,
            computed={"times_each_example_is_seen": inputs.training.epochs, "limit": limit},
            recommendation=(
                f"Each example is seen {inputs.training.epochs:g} times; the seed analysis goes to "
                f"{limit:g} at most. Extend only when the advisor says that scores still rise."
            ),
            quote="If still improving: extend to 100",
            evidence="heuristic",
            autofix=fix(training__epochs=limit if earliest is None else min(limit, earliest)),
        )
    ]


def _validations(inputs: ReviewInputs) -> list[Finding]:
    training, wanted = inputs.training, inputs.rules.min_validations
    count = inputs.num_validations
    if count >= wanted:
        return []
    every = inputs.total_steps // wanted  # updates between validations; 0 in a run too short
    interval = float(f"{every * training.epochs / inputs.total_steps:.9g}")
    return [
        Finding(
            id="validations_few",
            severity="advice",
            path="training.eval_interval",
            value=training.eval_interval,
            computed={"validations": count, "needed": wanted},
            recommendation=(
                f"Validations of the run: {count}. They are too few to ask from which epoch it "
                f"overfits or whether it still improves; take at least {wanted}. What is "
                "then detected depends on the size of the change, the noise and the number of "
                "validations: few of them show a large change at best."
            ),
            quote="Adjust hyperparameters based on training curves",
            evidence="heuristic",
            autofix=fix(training__eval_interval=interval) if every else None,
        )
    ]


def _presentations(inputs: ReviewInputs) -> Finding:
    shown = inputs.num_train * inputs.training.epochs
    return Finding(
        id="presentations",
        severity="note",
        path="training.epochs",
        value=inputs.training.epochs,
        computed={
            "presentations": round(shown),
            "parameters_per_presentation": round(inputs.counts.trainable / shown, 3),
            "total_steps": inputs.total_steps,
        },
        recommendation=(
            f"{inputs.num_train:,} examples x {inputs.training.epochs:g} epochs = {shown:,.0f} "
            f"presentations in {inputs.total_steps:,} updates."
        ),
        quote="Good default. Can adjust based on convergence",
        evidence="heuristic",
    )


def _batch_of_enough_updates(inputs: ReviewInputs) -> int | None:
    """The largest power of two below the batch that gives enough updates, if 8 or more does."""
    largest = min(inputs.training.global_batch_size, inputs.num_train)
    size: int = 1 << (largest.bit_length() - 1)
    while size >= _SMALLEST_BATCH:
        if inputs.total_steps_at(size) >= inputs.rules.min_total_steps:
            return size
        size //= 2
    return None


def _batch_fix(inputs: ReviewInputs, size: int) -> str:
    micro = inputs.training.micro_batch_size
    kept = micro if micro is not None and size % micro == 0 else None
    return fix(training__global_batch_size=size, training__micro_batch_size=kept)


@register_rule
def counts_assumed(inputs: ReviewInputs) -> Finding | None:
    """Parameter counts that were assumed and not counted."""
    if not inputs.counts.assumed_because:
        return None
    return Finding(
        id="counts_assumed",
        severity="note",
        path="review.counts",
        value=None,
        computed={"trainable": inputs.counts.trainable, "frozen": inputs.counts.frozen},
        recommendation=(
            f"The counts are assumed: {inputs.counts.assumed_because.rstrip('.')}. What is "
            "said about memory and about frozen weights rests on them."
        ),
        quote="",
        evidence="heuristic",
    )
