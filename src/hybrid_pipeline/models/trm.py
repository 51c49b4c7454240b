"""TRM's recursion: one tiny network updates a latent z_L and an answer z_H in turn.

Source: Jolicoeur-Martineau, "Less is More: Recursive Reasoning with Tiny Networks",
arXiv:2510.04871, section 4 and figure 3. The names are those of the published code; the paper's
text writes y for z_H, z for z_L, T for H_cycles and n for L_cycles.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hybrid_pipeline.config import TrmConfig
from hybrid_pipeline.models.layers import Core, truncated_normal_
from hybrid_pipeline.models.parts import Carry, Site


class Recursion(nn.Module):
    """Repeats the core: ``H_cycles`` of (``L_cycles`` updates of z_L, one of z_H).

    Args:
        config: cycles, gradient rule, one network or two.
        core: updates z_H, and z_L as well unless the networks are separate.
        core_L: updates z_L; needed if and only if ``config.separate_networks``.

    Raises:
        ValueError: for a second network that is missing or not wanted.
    """

    def __init__(self, config: TrmConfig, core: Core, core_L: Core | None = None) -> None:
        super().__init__()
        if config.separate_networks != (core_L is not None):
            raise ValueError(
                "trm.separate_networks=true needs a second core for z_L"
                if config.separate_networks
                else "a second core was given but trm.separate_networks is false"
            )
        self.config = config
        self.core = core
        self.core_L = core_L
        dim = core.config.dim
        self.register_buffer("H_init", truncated_normal_(torch.empty(dim), std=1.0))
        self.register_buffer("L_init", truncated_normal_(torch.empty(dim), std=1.0))
        self.H_init: Tensor
        self.L_init: Tensor

    @property
    def max_steps(self) -> int:
        """N_sup: supervision steps at full depth."""
        return self.config.supervision_steps

    def start(self, x: Float[Tensor, "batch slots dim"]) -> Carry:
        """Fresh state for the slots x."""
        return self.initial_carry(x.shape[0], x.shape[1])

    def initial_carry(self, batch: int, slots: int) -> Carry:
        """Fresh state: every slot starts from the fixed vectors ``H_init`` and ``L_init``."""
        shape, device = (batch, slots, -1), self.H_init.device
        return Carry(
            z_H=self.H_init.expand(shape),
            z_L=self.L_init.expand(shape),
            steps=torch.zeros(batch, dtype=torch.long, device=device),
            halted=torch.zeros(batch, dtype=torch.bool, device=device),
        )

    def reset(self, carry: Carry) -> Carry:
        """Start the halted sequences afresh and leave the others as they are."""
        at = carry.halted[:, None, None]
        return Carry(
            z_H=torch.where(at, self.H_init, carry.z_H),
            z_L=torch.where(at, self.L_init, carry.z_L),
            steps=torch.where(carry.halted, 0, carry.steps),
            halted=torch.zeros_like(carry.halted),
        )

    def forward(self, carry: Carry, x: Float[Tensor, "batch slots dim"]) -> Carry:
        """One supervision step (figure 3, ``deep_recursion``).

        Args:
            carry: where to start. Pass ``carry.detach()`` of the step before: the carry is
                detached between supervision steps.
            x: the encoded input with its learned positions added (``Core.add_positions``).

        Returns:
            The new state *with its graph*, one step further. The graph covers the last of the
            ``H_cycles`` under ``one_step``, the last update of z_L and of z_H under
            ``last_updates``, everything under ``full``.
        """
        z_H, z_L, gradient = carry.z_H, carry.z_L, self.config.gradient
        with _graph_if(gradient == "full"):
            for _ in range(self.config.H_cycles - 1):
                z_L = self._update_L(z_H, z_L, x, self.config.L_cycles)
                z_H = self.core(z_H, z_L)
        with _graph_if(gradient != "last_updates"):
            z_L = self._update_L(z_H, z_L, x, self.config.L_cycles - 1)
        z_L = self._update_L(z_H, z_L, x, 1)
        z_H = self.core(z_H, z_L)
        return replace(carry, z_H=z_H, z_L=z_L, steps=carry.steps + 1)

    def _update_L(self, z_H: Tensor, z_L: Tensor, x: Tensor, times: int) -> Tensor:
        core_L = self.core if self.core_L is None else self.core_L
        for _ in range(times):
            z_L = core_L(z_L, z_H + x)
        return z_L


def build_recursion(site: Site) -> Recursion:
    """TRM's recursion of the arm's core.

    Raises:
        ValueError: for an arm without a core.
    """
    if site.core is None:
        raise ValueError(f"arm {site.arm.name!r} has no core to recurse")
    trm = site.config.trm
    core_L = Core(site.config.core, site.shape.num_slots) if trm.separate_networks else None
    return Recursion(trm, site.core, core_L)


def _graph_if(wanted: bool) -> AbstractContextManager[None]:
    """Leave gradients as they are, or switch them off."""
    return nullcontext() if wanted else torch.no_grad()
