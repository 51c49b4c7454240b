"""One fix at a time, and all at once, for random configurations as this project trains them."""

from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_pipeline.config import ReviewConfig
from hybrid_pipeline.review.adapter import apply_fix, from_document, inputs_from_parameters
from hybrid_pipeline.review.all_fixes import all_fixes
from hybrid_pipeline.review.findings import TrainedAndFrozen
from hybrid_pipeline.review.project import document_inputs
from hybrid_pipeline.review.rules import review

REVIEW = Path(__file__).parents[2] / "conf/base/parameters/review.yml"
CONFIG = ReviewConfig.model_validate(yaml.safe_load(REVIEW.read_text())["review"])
SMALL, LARGE = TrainedAndFrozen(217_000, 269_000), TrainedAndFrozen(82_000_000, 86_000_000)


@st.composite
def any_inputs(draw):
    """A valid configuration; batches, peaks and warm-ups far outside of what is sensible too."""

    def pick(*values):
        return draw(st.sampled_from(values))

    batch = pick(1, 8, 32, 64, 192, 193, 256, 1000, 4096)
    in_steps = draw(st.booleans())
    training = {
        "lr": draw(st.floats(1e-6, 0.5)),
        "global_batch_size": batch,
        "micro_batch_size": pick(None, *[d for d in (1, 8, 16, 32, 48) if batch % d == 0]),
        "epochs": draw(st.floats(0.05, 400)),
        "eval_interval": pick(0.02, 0.2, 1.0, 5.0, 50.0),
        "lr_warmup_steps": pick(0, 1, 10, 100, 1000, 3000) if in_steps else None,
        "lr_warmup_ratio": None if in_steps else draw(st.floats(0, 0.999)),
        "beta2": pick(0.9, 0.95, 0.98, 0.999),
        "weight_decay": draw(st.floats(0, 2)),
        "max_grad_norm": pick(None, 1.0),
        "ema": draw(st.booleans()),
        "ema_rate": pick(0.0, 0.5, 0.99, 0.999, 0.9999),
        "lr_scheduler": pick("cosine", "linear", "constant"),
        "lr_min_ratio": pick(0.0, 0.1, 1.0),
        "device": pick("cpu", "cuda"),
        "gradient_checkpointing": draw(st.booleans()),
    }
    halting = {
        "policy": pick("dqn", "dqn", "fixed"),
        "dqn_warmup_ratio": draw(st.floats(0, 1)),
        "freeze_representation_during_warmup": draw(st.booleans()),
        "exploration": pick("boltzmann", "epsilon"),
        "q_temperature_start": pick(0.05, 0.1, 1.0),
        "q_temperature_end": pick(0.1, 1.0),
        "epsilon_start": pick(0.0, 1.0),
        "lr_dqn": draw(st.floats(1e-5, 1e-2)),
    }
    peak = pick(None, 5.0, 14.2)
    measured = {
        "peak_memory_gib": peak,
        "peak_memory_micro_batch_size": None if peak is None else pick(8, 48, 192),
        "overfit_from_epoch": pick(None, 0.5, 5.0, 32.0),
    }
    return inputs_from_parameters(
        {"training": training, "halting": halting, "model": {}, "clip": {}},
        CONFIG.model_copy(update=measured),
        num_train=draw(st.integers(100, 10**6)),
        counts=pick(SMALL, LARGE),
        drop_last=draw(st.booleans()),
    )


def fixable(inputs):
    return [f for f in review(inputs) if f.autofix is not None and f.severity != "note"]


@settings(max_examples=300, deadline=None)
@given(any_inputs())
def test_each_fix_is_accepted_and_removes_its_finding(inputs):
    for finding in review(inputs):
        if finding.autofix is not None:
            left = [f.id for f in review(apply_fix(inputs, finding.autofix))]
            assert finding.id not in left, finding


@settings(max_examples=300, deadline=None)
@given(any_inputs())
def test_all_fixes_at_once_leave_nothing_that_can_be_fixed(inputs):
    block = all_fixes(inputs)
    assert (block is None) == (not fixable(inputs))
    if block is not None:
        assert fixable(apply_fix(inputs, block)) == []


def test_the_block_is_computed_for_the_length_that_it_sets():
    """300 epochs are cut to 5: 2,600 updates, so the warm-up is 3000/26050 of that, not of 300."""
    inputs = inputs_from_parameters(
        from_document(CONFIG.document.corrected | {"epochs": 300, "lr_warmup_steps": 1000}),
        CONFIG.model_copy(update={"overfit_from_epoch": 5.0}),
        num_train=100_000,
        counts=LARGE,
        drop_last=True,
    )
    assert {yaml.safe_load(f.autofix)["training"]["epochs"] for f in fixable(inputs)
            if f.id.startswith("epochs_")} == {5.0}  # fmt: skip
    block = yaml.safe_load(all_fixes(inputs))["training"]
    assert block["epochs"] == 5.0
    assert "lr_warmup_steps" not in block  # 1000 of 2,600 updates is long enough
    assert fixable(apply_fix(inputs, all_fixes(inputs))) == []


def test_the_originals_block_is_one_document_without_a_key_twice():
    block = all_fixes(document_inputs(CONFIG, "original"))
    assert block.count("training:") == 1
    assert yaml.safe_load(block)["training"]["lr_warmup_steps"] == 3000


def test_nothing_to_fix_gives_no_block():
    fixed = apply_fix(document_inputs(CONFIG, "corrected"), "training: {micro_batch_size: 48}")
    assert all_fixes(fixed) is None
