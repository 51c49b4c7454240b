"""Rules against hand-computed figures, and every autofix against its own finding."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hybrid_pipeline.config import ConfigError, ReviewConfig, TrainingConfig
from hybrid_pipeline.review.adapter import from_document, inputs_from_parameters, merge_softly
from hybrid_pipeline.review.findings import EarlierRuns, TrainedAndFrozen
from hybrid_pipeline.review.project import document_inputs
from hybrid_pipeline.review.rules import RULES, register_rule, review

ROOT = Path(__file__).parents[2]
CONF = yaml.safe_load((ROOT / "conf/base/parameters/review.yml").read_text())["review"]
CONFIG = ReviewConfig.model_validate(CONF)
COUNTS = TrainedAndFrozen(82_000_000, 86_000_000)
CORRECTED = from_document(CONFIG.document.corrected)


def inputs_of(parameters, *, num_train=100_000, config=CONFIG, counts=COUNTS):
    return inputs_from_parameters(parameters, config, num_train=num_train, counts=counts)


def corrected_with(yaml_text, **options):
    return inputs_of(merge_softly(CORRECTED, yaml_text), **options)


def find(inputs, finding_id):
    found = [f for f in review(inputs) if f.id == finding_id]
    assert len(found) == 1, [f.id for f in review(inputs)]
    return found[0]


ORIGINAL = document_inputs(CONFIG, "original")


@pytest.mark.parametrize(
    ("finding_id", "autofix"),
    [
        # Priority 1
        ("lr_frozen_encoder", {"training": {"lr": 1e-4}}),
        ("warmup_short", {"training": {"lr_warmup_steps": 3000}}),
        ("dqn_warmup_short", {"halting": {"dqn_warmup_ratio": 0.2}}),
        # Priority 2 (the batch and the epochs are kept: notes without a fix)
        ("beta2_with_dqn", {"training": {"beta2": 0.98}}),
        ("batch_effective", None),
        ("presentations", None),
        # Priority 3
        ("clipping_missing", {"training": {"max_grad_norm": 1.0}}),
        ("ema_missing", {"training": {"ema": True, "ema_rate": 0.999}}),
        ("scheduler_not_cosine", {"training": {"lr_scheduler": "cosine", "lr_min_ratio": 0.1}}),
    ],
)
def test_original_settings_give_what_the_document_found(finding_id, autofix):
    finding = find(ORIGINAL, finding_id)
    assert (yaml.safe_load(finding.autofix) if finding.autofix else None) == autofix


def test_figures_of_the_original_settings_by_hand():
    warmup = find(ORIGINAL, "warmup_short").computed
    assert warmup["batches_per_epoch"] == 521  # ceil(100000 / 192 = 520.83)
    assert warmup["warmup_epochs"] == 1.92  # 1000 / 521 = 1.919
    assert warmup["total_steps"] == 26_050  # 521 x 50
    dqn = find(ORIGINAL, "dqn_warmup_short").computed
    assert dqn["dqn_start_step"] == 2_605
    assert dqn["start_after_fix"] == 5_210
    assert dqn["memory_full_after_steps"] == 22  # 8192 / (192 x 2) = 21.3: halting and going on
    assert find(ORIGINAL, "lr_frozen_encoder").computed["frozen_share"] == 0.512  # 86 / 168
    assert find(ORIGINAL, "presentations").computed["presentations"] == 5_000_000
    assert find(ORIGINAL, "beta2_with_dqn").computed["window_steps"] == 20
    # 192 x 63.3 MiB = 11.869 GiB; 82e6 x 22 B + 86e6 x 2 B = 1.840 GiB
    assert find(ORIGINAL, "batch_memory").computed["needed_gib"] == 13.71
    million = inputs_of(from_document(CONFIG.document.original), num_train=1_000_000)
    assert find(million, "warmup_short").computed["warmup_epochs"] == 0.19
    assert find(million, "presentations").computed["presentations"] == 50_000_000


@pytest.mark.parametrize(
    "finding_id",
    [
        "beta2_with_dqn",
        "dqn_warmup_short",
        "scheduler_not_cosine",
        "batch_memory",
    ],
)
def test_document_is_contradicted_where_evidence_is_missing(finding_id):
    assert find(ORIGINAL, finding_id).evidence == "contradicted"


def test_corrected_settings_lack_only_micro_batches():
    serious = [f.id for f in review(inputs_of(CORRECTED)) if f.severity != "note"]
    assert serious == ["batch_memory"]
    assert find(inputs_of(CORRECTED), "warmup").computed["warmup_epochs"] == 5.76


# One configuration per finding with an autofix.
CASES = {
    "lr_frozen_encoder": "training: {lr: 3.0e-4}",
    "lr_on_frozen_weights": "training: {lr_pretrained: 5.0e-5}",
    "lr_dqn_above_lr": "halting: {lr_dqn: 1.0e-3}",
    "warmup_short": "training: {lr_warmup_steps: 1000}",
    "warmup_beyond_run": "training: {lr_warmup_steps: 26050}",
    "warmup_long": "training: {lr_warmup_steps: 20000}",
    "warmup_given_twice": "training: {lr_warmup_ratio: 0.1}",
    "weight_decay_range": "training: {weight_decay: 0.0}",
    "batch_memory": "training: {micro_batch_size: null}",
    "batch_above_data": "training: {global_batch_size: 200000, micro_batch_size: 50}",
    "beta2_with_dqn": "training: {beta2: 0.95}",
    "updates_few": "training: {global_batch_size: 100000, micro_batch_size: 100}",
    "epochs_many": "training: {epochs: 300}",
    "validations_few": "training: {eval_interval: 20}",
    "dqn_warmup_short": "halting: {dqn_warmup_ratio: 0.1}",
    "dqn_starts_in_warmup": "halting: {dqn_warmup_ratio: 0.1}",
    "dqn_never_starts": "halting: {dqn_warmup_ratio: 1.0}",
    "dqn_starts_late": "halting: {dqn_warmup_ratio: 0.99}",
    "annealing_reversed": "halting: {q_temperature_start: 0.1, q_temperature_end: 1.0}",
    "clipping_missing": "training: {max_grad_norm: null}",
    "ema_missing": "training: {ema: false}",
    "ema_horizon": "training: {epochs: 1, eval_interval: 0.1, lr_warmup_steps: 60}",
    "scheduler_not_cosine": "training: {lr_scheduler: constant}",
    "freeze_flag_idle": "halting: {policy: fixed}",
    "freeze_flag_foreign": "training: {freeze_encoder: false}",
    "unknown_key": "training: {lr_trainable: 1.0e-4}",
    "epochs_overfit": "training: {epochs: 50}",
}
VARIANTS = {
    "warmup_short": [
        "training: {lr_warmup_steps: null, lr_warmup_ratio: 0.02}",
        "training: {lr_warmup_steps: 0}",
    ],
    "warmup_beyond_run": [
        "training: {epochs: 0.02, eval_interval: 0.004}",
        "training: {lr_warmup_steps: null, lr_warmup_ratio: 0.999, epochs: 0.1}",
    ],
    "dqn_starts_in_warmup": ["training: {lr_warmup_steps: 9000}"],
    "validations_few": ["training: {epochs: 0.0154, eval_interval: 1, lr_warmup_steps: 1}"],
    "batch_above_data": ["training: {global_batch_size: 100001}"],
    "dqn_warmup_short": [
        "{training: {lr_warmup_steps: 9000}, halting: {dqn_warmup_ratio: 0.0}}",
    ],
    "weight_decay_range": ["training: {weight_decay: 1.0}"],
    "scheduler_not_cosine": [
        "training: {lr_scheduler: linear}",
        "training: {lr_min_ratio: 1.0}",
    ],
    "annealing_reversed": [
        "halting: {expansion_penalty_start: 0.001, expansion_penalty_end: 0.1}",
        "halting: {exploration: epsilon, epsilon_start: 0.0, epsilon_end: 0.5}",
    ],
    "freeze_flag_idle": ["halting: {dqn_warmup_ratio: 0.0}"],
}
ALL_CASES = [(name, text) for name, text in CASES.items()] + [
    (name, text) for name, texts in VARIANTS.items() for text in texts
]


def config_for(name):
    if name == "epochs_overfit":
        return CONFIG.model_copy(update={"overfit_from_epoch": 32.0})
    return CONFIG


@pytest.mark.parametrize(("name", "text"), ALL_CASES)
def test_applying_the_autofix_makes_the_finding_vanish(name, text):
    parameters = merge_softly(CORRECTED, text)
    config = config_for(name)
    finding = find(inputs_of(parameters, config=config), name)
    assert finding.autofix is not None
    fixed = inputs_of(merge_softly(parameters, finding.autofix), config=config)
    assert name not in [f.id for f in review(fixed)]


def test_every_finding_with_an_autofix_has_a_case():
    with_fix = {
        f.id
        for name, text in ALL_CASES
        for f in review(corrected_with(text, config=config_for(name)))
        if f.autofix is not None
    }
    with_fix |= {f.id for f in review(ORIGINAL) if f.autofix is not None}
    assert with_fix == set(CASES)


def test_applying_all_autofixes_leaves_only_notes():
    parameters = from_document({**CONFIG.document.original, "lr_pretrained": "5e-5"})
    for _ in range(3):  # a fix may uncover another finding (EMA on, then its horizon)
        for finding in review(inputs_of(parameters)):
            if finding.autofix is not None and finding.severity != "note":
                parameters = merge_softly(parameters, finding.autofix)
    assert {f.severity for f in review(inputs_of(parameters))} == {"note"}
    TrainingConfig.model_validate(
        {k: v for k, v in parameters["training"].items() if v is not None or k != "lr_pretrained"}
    )


def test_rate_rule_scales_with_width():
    small = corrected_with(
        "{training: {lr: 1.5e-3}, model: {core: {dim: 64}, vit: {embed_dim: 64}}}",
        counts=TrainedAndFrozen(220_000, 1),
    )
    assert small.reference_lr == 1.2e-3  # 1e-4 x 768 / 64
    assert "lr_frozen_encoder" not in [f.id for f in review(small)]
    wide = corrected_with("training: {lr: 1.5e-3}")
    assert find(wide, "lr_frozen_encoder").computed["times_reference"] == 15.0


def test_measured_peak_memory_replaces_the_estimate():
    config = CONFIG.model_copy(update={"peak_memory_gib": 9.0})
    finding = find(inputs_of(CORRECTED, config=config), "batch_memory_fits")
    assert finding.computed["peak_is_measured"] is True
    assert finding.computed["share"] == 0.618  # 9 / 14.56
    assert finding.evidence == "measured"


def test_peak_of_another_micro_batch_is_scaled_and_its_fix_holds():
    """States are 1.840 GiB, a sample 63.3 MiB: 192 take 13.71 and 96 take 7.775 GiB."""
    config = CONFIG.model_copy(
        update={"peak_memory_gib": 14.2, "peak_memory_micro_batch_size": 192}
    )
    finding = find(inputs_of(CORRECTED, config=config), "batch_memory")
    assert yaml.safe_load(finding.autofix) == {"training": {"micro_batch_size": 96}}
    fixed = find(
        inputs_of(merge_softly(CORRECTED, finding.autofix), config=config), "batch_memory_fits"
    )
    assert fixed.computed["needed_gib"] == pytest.approx(14.2 * 7.775 / 13.71, abs=0.01)
    assert fixed.computed["peak_is_measured"] is False
    assert "scaled from 14.2 GiB measured at 192" in fixed.recommendation


def test_a_peak_without_its_micro_batch_is_refused():
    with pytest.raises(ValueError, match="peak_memory_micro_batch_size"):
        ReviewConfig.model_validate(CONF | {"peak_memory_gib": 14.2})


SMALL = {"num_train": 8_000, "counts": TrainedAndFrozen(217_000, 269_000)}


def test_the_documents_own_warmup_is_an_error_in_a_short_run():
    inputs = corrected_with("training: {epochs: 1, eval_interval: 0.2}", **SMALL)
    finding = find(inputs, "warmup_beyond_run")
    assert finding.severity == "error"
    assert finding.computed["warmup_share"] == 71.4286  # 3000 of 42 updates
    assert "dqn_starts_in_warmup" not in [f.id for f in review(inputs)]


@pytest.mark.parametrize(
    ("ratio", "freeze", "expected"),
    [
        (1.0, True, ("error", "neither learns nor acts")),
        (1.0, False, ("error", "never acts")),
        (0.99999, True, ("error", "neither learns nor acts")),  # step 26,049.7 of 26,050
        (0.95, True, ("warning", "Only 1,302 of 26,050 updates")),
    ],
)
def test_a_dqn_that_never_or_hardly_starts(ratio, freeze, expected):
    change = {"dqn_warmup_ratio": ratio, "freeze_representation_during_warmup": freeze}
    found = review(corrected_with(yaml.safe_dump({"halting": change})))
    late = [f for f in found if f.id in ("dqn_never_starts", "dqn_starts_late")]
    assert [f.severity for f in late] == [expected[0]]
    assert expected[1] in late[0].recommendation


@pytest.mark.parametrize("batch", [4096, 8000])
def test_a_handful_of_updates_is_not_kept(batch):
    inputs = corrected_with(f"training: {{epochs: 1, global_batch_size: {batch}}}", **SMALL)
    finding = find(inputs, "updates_few")
    assert finding.severity == "warning"
    assert finding.computed["total_steps"] == (2 if batch == 4096 else 1)
    assert yaml.safe_load(finding.autofix)["training"]["global_batch_size"] == 64  # 125 updates
    assert "batch_effective" not in [f.id for f in review(inputs)]


def test_validations_are_counted_as_the_trainer_takes_them():
    """Every 42nd of 189 updates, 4 times, and after the last one."""
    inputs = corrected_with(
        "training: {epochs: 4.5, eval_interval: 1, lr_warmup_steps: 20}", **SMALL
    )
    assert (inputs.total_steps, inputs.num_validations) == (189, 5)
    assert "validations_few" not in [f.id for f in review(inputs)]


@pytest.mark.parametrize(
    ("change", "said", "unsaid"),
    [
        ("{exploration: epsilon}", "Epsilon falls from 1 to 0.05", "temperature"),
        ("{q_temperature_start: 0.1, q_temperature_end: 0.1}", "temperature stays at 0.1", "both"),
        ("{expansion_penalty_start: 0.001}", "expansion penalty stays at 0.001", "both"),
    ],
)
def test_annealing_says_what_happens(change, said, unsaid):
    text = find(corrected_with(f"halting: {change}"), "annealing_ends").recommendation
    assert said in text
    assert unsaid not in text.lower()


def test_no_gradient_of_the_dqn_is_said_to_reach_the_representation():
    text = find(inputs_of(CORRECTED), "freeze_flag_ambiguous").recommendation
    assert "no gradient flows from the DQN into the representation, before its start or" in text


def test_assumed_counts_are_named():
    counts = TrainedAndFrozen(220_000, 221_000, assumed_because="no file")
    assert "no file" in find(inputs_of(CORRECTED, counts=counts), "counts_assumed").recommendation
    assert "counts_assumed" not in [f.id for f in review(inputs_of(CORRECTED))]


def test_a_measured_difference_is_cited_and_changes_the_evidence():
    measured = EarlierRuns(lr_difference="It was +2 [+1, +3], 3 seeds.")
    for text, finding_id in (("lr: 3.0e-4", "lr_frozen_encoder"), ("lr: 1.0e-4", "lr_measured")):
        inputs = replace(corrected_with(f"training: {{{text}}}"), measured=measured)
        finding = find(inputs, finding_id)
        assert finding.evidence == "measured"
        assert "+2 [+1, +3], 3 seeds" in finding.recommendation


def test_dropping_the_last_batch_gives_520():
    inputs = inputs_from_parameters(
        CORRECTED, CONFIG, num_train=100_000, counts=COUNTS, drop_last=True
    )
    assert inputs.steps_per_epoch == 520


def test_adapter_reads_strings_and_refuses_bad_values():
    parameters = from_document({"lr": "3e-4", "warmup_steps": "1000", "use_ema": True})
    assert inputs_of(parameters).training.lr == 3e-4
    assert inputs_of(parameters).warmup_steps == 1000
    assert inputs_of(parameters).training.ema is True
    with pytest.raises(ConfigError, match=r"training\.lr"):
        inputs_of(from_document({"lr": -1.0}))


def test_what_a_document_leaves_out_is_not_taken_from_our_defaults():
    inputs = inputs_of(from_document({"lr": 1e-4}))
    assert inputs.training.max_grad_norm is None
    assert inputs.training.ema is False
    assert inputs.warmup_steps == 0


def test_errors_come_first():
    parameters = merge_softly(CORRECTED, "training: {lr_pretrained: 5.0e-5, lr: 3.0e-4}")
    assert [f.severity for f in review(inputs_of(parameters))] == sorted(
        [f.severity for f in review(inputs_of(parameters))],
        key=["error", "warning", "advice", "note"].index,
    )


def test_a_rule_of_ones_own_joins_the_review():
    def small_batch(inputs):
        size = inputs.training.global_batch_size
        return [replace(like, id="small_batch")] if size < 8 else []

    like = find(ORIGINAL, "batch_effective")
    small = corrected_with("training: {global_batch_size: 4}")
    register_rule(small_batch)
    try:
        assert find(small, "small_batch").severity == "note"
        assert "small_batch" not in [finding.id for finding in review(ORIGINAL)]
    finally:
        RULES.pop("small_batch")


def test_a_rules_name_is_given_once():
    def beta2(inputs):
        return []

    with pytest.raises(ValueError, match=r"rule 'beta2' is registered twice: by .*rules\.dqn"):
        register_rule(beta2)


def test_rules_have_distinct_names_and_say_something():
    assert len(set(RULES.values())) == len(RULES)
    for finding in review(ORIGINAL):
        assert finding.recommendation.endswith((".", "?"))
