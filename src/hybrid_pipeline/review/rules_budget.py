"""Rules on batch, memory and length of training."""

from __future__ import annotations

from hybrid_pipeline.review.findings import Evidence, Finding, ReviewInputs, fix, percent

_GIB = 2**30


def batch_memory(inputs: ReviewInputs) -> list[Finding]:
    """The batch against the memory of the device, measured where a probe has run."""
    if inputs.training.device == "cpu":
        return []
    batch = inputs.training.micro_batch_size or inputs.training.global_batch_size
    measured = inputs.measured.peak_memory_gib
    if measured is None and inputs.counts.trainable < inputs.rules.memory_rule_from_parameters:
        return []
    needed = measured if measured is not None else memory_gib(inputs, batch)
    share = needed / inputs.rules.device_memory_gib
    fits = share <= inputs.rules.max_memory_share
    smaller = largest_fitting_batch(inputs)
    source = "estimated, before TRM and COCONUT" if measured is None else "measured"
    words = "fits" if fits else "does not fit safely"
    change = "" if fits or smaller is None else f" Accumulate micro-batches of {smaller}."
    return [
        Finding(
            id="batch_memory" if not fits else "batch_memory_fits",
            severity="note" if fits else "error",
            path="training.micro_batch_size",
            value=inputs.training.micro_batch_size,
            computed={
                "batch": batch,
                "needed_gib": round(needed, 2),
                "device_gib": inputs.rules.device_memory_gib,
                "share": round(share, 3),
                "peak_is_measured": measured is not None,
            },
            recommendation=(
                f"A micro-batch of {batch} needs {needed:.1f} GiB ({source}), "
                f"{percent(share)} of {inputs.rules.device_memory_gib:g} GiB: it {words}.{change}"
            ),
            quote="Uses 12GB / 15GB VRAM (80% utilization)",
            evidence=_memory_evidence(fits, measured is not None),
            autofix=None if fits or smaller is None else fix(training__micro_batch_size=smaller),
        )
    ]


def _memory_evidence(fits: bool, is_measured: bool) -> Evidence:
    if not fits:
        return "contradicted"
    return "measured" if is_measured else "heuristic"


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
    rules, measured = inputs.rules, inputs.measured.peak_memory_gib
    size = inputs.training.global_batch_size
    present = inputs.training.micro_batch_size or size
    scale = 1.0 if measured is None else measured / memory_gib(inputs, present)
    allowed = rules.max_memory_share * rules.device_memory_gib
    fitting = [
        b for b in range(1, present) if size % b == 0 and scale * memory_gib(inputs, b) <= allowed
    ]
    return max(fitting, default=None)


def effective_batch(inputs: ReviewInputs) -> list[Finding]:
    """The batch that an update sees, under accumulation."""
    size, micro = inputs.training.global_batch_size, inputs.training.micro_batch_size
    parts = 1 if micro is None else size // micro
    too_large = size > inputs.num_train
    return [
        Finding(
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
                else f"Keep: {parts} x {micro or size} examples an update, "
                f"{inputs.steps_per_epoch:,} updates an epoch."
            ),
            quote="Large enough for stable gradients",
            evidence="heuristic",
            autofix=_small_batch(inputs) if too_large else None,
        )
    ]


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
    return [
        Finding(
            id="epochs_many",
            severity="advice",
            path="training.epochs",
            value=inputs.training.epochs,
            computed={"times_each_example_is_seen": inputs.training.epochs, "limit": limit},
            recommendation=(
                f"Each example is seen {inputs.training.epochs:g} times; the document goes to "
                f"{limit:g} at most. Extend only when the advisor says that scores still rise."
            ),
            quote="If still improving: extend to 100",
            evidence="heuristic",
            autofix=fix(training__epochs=limit),
        )
    ]


def _validations(inputs: ReviewInputs) -> list[Finding]:
    training, wanted = inputs.training, inputs.rules.min_validations
    count = int(training.epochs / training.eval_interval + 1e-9)
    if count >= wanted:
        return []
    return [
        Finding(
            id="validations_few",
            severity="advice",
            path="training.eval_interval",
            value=training.eval_interval,
            computed={"validations": count, "needed": wanted},
            recommendation=(
                f"{count} validations cannot show from which epoch a run overfits or whether it "
                f"still improves; {wanted} or more can."
            ),
            quote="Adjust hyperparameters based on training curves",
            evidence="heuristic",
            autofix=fix(training__eval_interval=training.epochs / wanted),
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


def _small_batch(inputs: ReviewInputs) -> str:
    return fix(training__global_batch_size=inputs.num_train, training__micro_batch_size=None)
