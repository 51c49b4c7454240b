"""The control of size: a ViT so wide that the arm has the weights of the one it stands beside."""

from __future__ import annotations

from torch import nn

from hybrid_pipeline.arms import Arm, find_arm
from hybrid_pipeline.config import VitConfig
from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.models.parts import Site
from hybrid_pipeline.models.vit import CustomViT


def build_wide_vit(site: Site) -> CustomViT:
    """A ViT with a wider MLP, rounded to the nearest reachable number of trainable weights.

    Raises:
        ValueError: without frozen tokens, which the arm beside it needs.
    """
    return CustomViT(_widened(site), site.shape.image_size)


def _widened(site: Site) -> VitConfig:
    if not site.shape.clip_width:
        raise ValueError("the wide_vit control is matched to the full model: cache features first")
    beside = find_arm(site.arm.control_of or site.arm.name)
    plain = Arm("plain", site.arm.components)
    goal, base = (
        _num_trainable(HybridModel(arm, site.config, site.shape)) for arm in (beside, plain)
    )
    vit = site.config.vit
    per_hidden = vit.depth * (2 * vit.embed_dim + 1)  # weights in and out, one bias
    extra = max(0, round((goal - base) / per_hidden))
    hidden = int(vit.embed_dim * vit.mlp_ratio) + extra
    return vit.model_copy(update={"mlp_ratio": (hidden + 1e-6) / vit.embed_dim})


def _num_trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
