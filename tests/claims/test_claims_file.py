"""Every row of the audit of the seed analysis, computed from the project's claims file."""

import inspect
from pathlib import Path

import pytest
import timm
import torch

from hybrid_pipeline.claims.audit import Measured, audit
from hybrid_pipeline.claims.claims import read_claims
from hybrid_pipeline.claims.recompute import RECOMPUTATIONS
from hybrid_pipeline.claims.recompute_training import LIBRARY_DEFAULTS, count_vit_b
from hybrid_pipeline.stats.results import Interval

CLAIMS = Path(__file__).parents[2] / "conf/base/parameters/claims.yml"


@pytest.fixture(scope="module")
def rows():
    return {row.id: row for row in audit(read_claims(CLAIMS), Measured())}


@pytest.mark.parametrize(
    ("name", "code", "recomputed", "words"),
    [
        ("additive_sum", "holds", "65.0 %", "adds accuracy, alignment, reasoning and planning"),
        ("compound_factor", "holds", "1.8172x", "holds"),
        ("compound_percent", "holds", "+81.7 %", "holds"),
        ("conservative_total", "holds_in_part", "+21.3 to +39.5 %", "low holds, high does not"),
        ("optimistic_total", "does_not_hold", "+61.0 to +88.2 %", "neither end holds"),
        ("architecture_total", "holds_in_part", "+27.4 to +77.1 %", "low holds, high does not"),
        ("vit_counted_twice", "contradicts", "+21.3 to +61.0 %", "counted twice"),
        ("realistic_is_additive", "contradicts", "+20.0 to +35.0 %", "the seed analysis rejects"),
        ("conservative_headlines", "contradicts", "", "mutually inconsistent"),
        ("optimistic_headlines", "contradicts", "", "mutually inconsistent"),
        ("claimed_unrealistic", "contradicts", "+65.0 %", "inside optimistic column +61.0"),
        ("compound_unrealistic", "contradicts", "+82.0 %", "inside optimistic column"),
        ("conservative_corners", "does_not_hold", "+25.4 to +34.9 %", "too wide if stages"),
        ("optimistic_corners", "does_not_hold", "+67.4 to +81.0 %", "too wide if stages"),
        ("ceiling_65", "not_verifiable", "needs a baseline of at most 60.6 %", ""),
        ("ceiling_82", "not_verifiable", "needs a baseline of at most 55.0 %", ""),
        ("ceiling_90", "not_verifiable", "needs a baseline of at most 52.6 %", ""),
        ("batches_per_epoch", "holds", "521 batches", "520 with the last batch dropped"),
        ("warmup_1000", "holds", "1.919 epochs", "0.19 epochs at 1,000,000"),
        ("warmup_3000", "holds", "5.76 epochs", "0.58 epochs at 1,000,000"),
        ("warmup_ratio", "does_not_hold", "2,605 steps", "26,045 steps at 1,000,000"),
        ("vram_share", "holds", "80.0 %", "Arithmetic only"),
        ("vram_needed", "does_not_hold", "15.32 GB", "14.27 GiB"),
        ("presentations_100k", "holds", "5,000,000 samples", ""),
        ("presentations_1m", "holds", "50,000,000 samples", ""),
        ("dqn_warmup_epochs", "holds", "10 epochs", ""),
        ("dqn_warmup_hours", "not_verifiable", "720 seconds per epoch", "139 samples/s and 10 h"),
        ("sqrt_factor", "does_not_hold", "1.5302", ""),
        ("lr_formula", "does_not_hold", "0.000459", "raises the rate"),
        ("clip_parameters", "holds", "86.19 million", "87.85 million"),
        ("betas_standard", "does_not_hold", "0.999", "torch.optim.AdamW"),
        ("weight_decay_standard", "does_not_hold", "0.01", "0.1 is not torch's default"),
        ("dqn_beta2", "not_supported", "", "RMSProp"),
        ("lr_pretrained", "no_effect", "0 trained weights", "No weight changes"),
        ("dqn_inside_warmup", "contradicts", "2,605 steps", "couple the two"),
        ("conservative_total_gain", "not_verifiable", "not measured", "no interval"),
        ("lr_dqn", "not_verifiable", "not measured", "It equals lr_pretrained"),
        ("epochs_fewer", "not_verifiable", "", "without a figure"),
        ("temperature_annealing", "not_verifiable", "not measured", "No stability experiment"),
        ("lr_floor", "holds", "1e-05", ""),
        ("ema_standard", "holds", "0.999", ""),
        ("trainable_parameters", "not_verifiable", "", "does not describe"),
        ("frozen_papers_rate", "not_verifiable", "", "No paper is named"),
        ("smoother", "not_verifiable", "not measured", "No stability experiment"),
        ("nan_risk", "not_verifiable", "not measured", "No stability experiment"),
        ("warmup_stabilises_dqn", "not_verifiable", "not measured", "No stability experiment"),
        ("claimed_total", "not_verifiable", "not measured", "no interval"),
        ("multiplicative", "not_verifiable", "not measured", "an identity"),
    ],
)
def test_audit_row(rows, name, code, recomputed, words):
    row = rows[name]
    assert row.verdict_code == code
    assert row.recomputed == recomputed
    assert words in f"{row.verdict} {row.detail}"


def test_memory_is_stated_as_the_document_states_it(rows):
    assert rows["vram_needed"].claimed == "12 GB"


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("conservative_total_gain", 0.21, 0.38),
        ("optimistic_total_gain", 0.56, 0.90),
        ("architecture_total_gain", 0.27, 0.76),
        ("architecture_claimed", 0.65, 0.65),
    ],
)
def test_total_rows_are_held_against_the_measurement(name, low, high):
    measured = Interval(estimate=-0.15, low=-0.31, high=0.05)
    claims, total = read_claims(CLAIMS), ("total", "mean")
    seen = Measured({total: measured}, mde_logs={total: 0.15}, plateau_reached=True)
    row = {r.id: r for r in audit(claims, seen)}[name]
    assert (row.component, row.claimed_low, row.claimed_high) == ("total", low, high)
    assert row.verdict_code == "refuted"
    assert row.measured == measured


# Every figure of the document, by section; a figure that stands twice in a section is named once.
FIGURES = {
    "Current Claims": ("+25%", "+12%", "+18%", "+10%", "~65%"),
    "Problems with These Claims": (
        "25% + 12% + 18% + 10% = 65%", "(1.25)", "(1.12)", "(1.18)", "(1.10)", "1.82x", "+82%",
    ),
    "Realistic expectations": (
        "CLIP frozen +10-15%", "CLIP frozen +20-25%", "N2N Adapter +3-5%", "N2N Adapter +8-12%",
        "TRM cycles +5-10%", "TRM cycles +15-20%", "COCONUT +2-5%", "COCONUT +8-12%", "+21-38%",
        "+56-90%",
    ),
    "Honest Benefit Estimate": ("20-30%", "40-50%", "65%"),
    "1. Learning Rate": (
        "3e-4", "86M", "82M", "1e-4 to 5e-5", "lr_pretrained: 5e-5", "lr_trainable: 1e-4",
        "lr_dqn: 5e-5",
    ),
    "2. Warmup Steps": ("1000/521 = 1.9", "192", "100k", "521", "3000", "5-6", "ratio: 0.1"),
    "3. Weight Decay": ("0.1:", "0.01:"),
    "4. Batch Size": ("192", "12GB / 15GB", "80%"),
    "5. Betas": ("0.9", "0.95", "beta2: 0.98", "0.99 helps", "0.98 or 0.99"),
    "6. Epochs": ("100k samples x 50 epochs = 5M", "1M samples x 50 epochs = 50M", "30-40", "100"),
    "7. DQN Warmup Ratio": ("20%", "~10 epochs", "~2 hours", "10%"),
    "8. Q-Temperature Annealing": ("1.0", "0.1"),
    "9. Expansion Penalty Annealing": ("0.1", "0.001"),
    "Recommended Hyperparameter Changes": ("3000", "0.1", "1.0", "0.999"),
    "Updated Config Snippet": ("0.1", "1e-5"),
    "Training Stability": ("3e-4", "1e-4"),
    "Convergence Speed": ("1000", "3000"),
    "Final Performance": ("20-35%", "not 65%", "40-50%"),
    "Learning Rate Theory": ("192", "82", "0.48", "3e-4", "1.4e-4"),
    "Architecture Justification": (
        "+10-20%", "+5-10%", "+3-8%", "+5-15%", "+2-8%", "+27-76%", "+30-40%", "+50-60%", "+65%",
    ),
}  # fmt: skip


@pytest.mark.parametrize("section", FIGURES)
def test_every_figure_of_the_document_is_in_a_quote(section):
    quotes = [c.quote for c in read_claims(CLAIMS).statements if section in c.section]
    missing = [text for text in FIGURES[section] if not any(text in quote for quote in quotes)]
    assert missing == []


def test_no_claim_is_of_a_section_that_is_not_listed():
    sections = {s for c in read_claims(CLAIMS).statements for s in c.section.split(", ")}
    assert sections == set(FIGURES)


def test_dqn_row_names_the_other_start(rows):
    assert "step 5,210" in rows["dqn_inside_warmup"].detail


def test_every_recomputation_is_used():
    used = {claim.recompute for claim in read_claims(CLAIMS).statements}
    assert set(RECOMPUTATIONS) <= used


def test_library_defaults_are_those_of_the_libraries():
    adamw = inspect.signature(torch.optim.AdamW).parameters
    assert adamw["betas"].default == (0.9, 0.999)
    assert LIBRARY_DEFAULTS["adamw_beta2"][0] == (adamw["betas"].default[1],)
    assert LIBRARY_DEFAULTS["adamw_weight_decay"][0] == (adamw["weight_decay"].default,)
    ema = inspect.signature(torch.optim.swa_utils.get_ema_avg_fn).parameters
    assert LIBRARY_DEFAULTS["ema_decay"][0] == (ema["decay"].default,)
    assert inspect.signature(timm.utils.ModelEmaV3).parameters["decay"].default == 0.9999


@pytest.mark.parametrize("patch", [16, 32])
def test_tower_count_is_that_of_open_clip(patch):
    import open_clip

    config = open_clip.get_model_config(f"ViT-B-{patch}")
    with torch.device("meta"):
        model = open_clip.model.CLIP(**config)
    assert count_vit_b(patch) == sum(p.numel() for p in model.visual.parameters())
