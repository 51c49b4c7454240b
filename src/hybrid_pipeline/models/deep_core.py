"""The control of the recursion: as many cores as it applies, each with weights of its own."""

from __future__ import annotations

from torch import Tensor, nn

from hybrid_pipeline.models.layers import Core
from hybrid_pipeline.models.parts import ApplyOnce, Site


class DeepCore(ApplyOnce):
    """The core and further ones on top of it, applied once.

    Args:
        core: the first.
        deeper: the others, which see x again.
    """

    def __init__(self, core: Core, deeper: nn.ModuleList) -> None:
        super().__init__(core)
        self.deeper = deeper

    def _answer(self, x: Tensor) -> Tensor:
        hidden = super()._answer(x)
        for core in self.deeper:
            hidden = core(hidden, x)
        return hidden


def build_deep_core(site: Site) -> DeepCore:
    """As deep as the recursion is long: N_sup T (n + 1) cores.

    Raises:
        ValueError: for an arm without a core.
    """
    if site.core is None:
        raise ValueError(f"arm {site.arm.name!r} has no core to make deeper")
    trm = site.config.trm
    depth = trm.supervision_steps * trm.H_cycles * (trm.L_cycles + 1)
    further = (Core(site.config.core, site.shape.num_slots) for _ in range(depth - 1))
    return DeepCore(site.core, nn.ModuleList(further))
