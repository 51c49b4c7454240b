"""Every row of the audit of the seed document, computed from the project's claims file."""

import inspect
from pathlib import Path

import pytest
import timm
import torch

from hybrid_pipeline.stats.audit import Measured, audit
from hybrid_pipeline.stats.claims import read_claims
from hybrid_pipeline.stats.recompute import RECOMPUTATIONS
from hybrid_pipeline.stats.recompute_training import LIBRARY_DEFAULTS, count_vit_b

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
        ("realistic_is_additive", "contradicts", "+20.0 to +35.0 %", "the document rejects"),
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
        ("vram_needed", "does_not_hold", "14.27 GiB", "11.9 GiB"),
        ("presentations_100k", "holds", "5,000,000 samples", ""),
        ("presentations_1m", "holds", "50,000,000 samples", ""),
        ("dqn_warmup_epochs", "holds", "10 epochs", ""),
        ("dqn_warmup_hours", "not_verifiable", "720 seconds an epoch", "139 samples/s and 10 h"),
        ("sqrt_factor", "does_not_hold", "1.5302", ""),
        ("lr_formula", "does_not_hold", "0.000459", "raises the rate"),
        ("clip_parameters", "holds", "86.19 million", "87.85 million"),
        ("betas_standard", "does_not_hold", "0.999", "torch.optim.AdamW"),
        ("weight_decay_standard", "does_not_hold", "0.01", "torch.optim.AdamW"),
        ("dqn_beta2", "not_supported", "", "RMSProp"),
        ("lr_pretrained", "no_effect", "0 trained weights", "No weight changes"),
        ("dqn_inside_warmup", "contradicts", "2,605 steps", "couple the two"),
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
