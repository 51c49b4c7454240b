# ruff: noqa: T201 - a script that reports to whoever runs it
"""Compare with the published TinyRecursiveModels code in float64 and write ``trm.npz`` from it.

In fp32 the recursion amplifies how a processor rounds its matrix products; in float64 what is
left is far below any error of either code. The published code names ``torch.float32`` where it
widens half precision; that name stands for float64 here.

Development only; needs a checkout of that repository (not part of this one) and einops:

    python tests/golden/make_trm.py --official <checkout> --write tests/golden/trm.npz
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from golden.trm_case import CASES, Case, inputs, run_ours, sketch, weights


class WideTorch:
    """``torch``, but for ``float32``, which is float64."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


def widen() -> None:
    """Let the published modules compute in float64."""
    from models.recursive_reasoning import hrm, trm

    from models import layers, losses

    for module in (layers, losses, hrm, trm):
        module.torch = WideTorch()


def official_model(case: Case) -> torch.nn.Module:
    """The published model with the case's weights."""
    from models.recursive_reasoning.hrm import HierarchicalReasoningModel_ACTV1
    from models.recursive_reasoning.trm import TinyRecursiveReasoningModel_ACTV1

    one, two = TinyRecursiveReasoningModel_ACTV1, HierarchicalReasoningModel_ACTV1
    model = (two if case.separate else one)(
        {
            "batch_size": case.batch,
            "seq_len": case.slots,
            "puzzle_emb_ndim": 0,
            "puzzle_emb_len": 0,
            "num_puzzle_identifiers": 1,
            "vocab_size": case.classes,
            "H_cycles": case.H_cycles,
            "L_cycles": case.L_cycles,
            "H_layers": case.layers if case.separate else 0,
            "L_layers": case.layers,
            "hidden_size": case.dim,
            "expansion": case.expansion,
            "num_heads": case.heads,
            "pos_encodings": case.pos_encodings,
            "halt_max_steps": case.supervision_steps,
            "halt_exploration_prob": 0.0,
            "forward_dtype": "float64",
            "mlp_t": case.mlp_t,
        }
    )
    names = {key: official_name(key, case) for key in weights(case)}
    state = {names[key]: value for key, value in weights(case).items()}
    result = model.load_state_dict(state, strict=False)
    assert not result.unexpected_keys, result
    assert set(result.missing_keys) == {"inner.q_head.weight", "inner.q_head.bias"}, result
    return model.train()


def official_name(ours: str, case: Case) -> str:
    """The published name of a weight of ours."""
    table = {
        "embedding": "inner.embed_tokens.embedding_weight",
        "head": "inner.lm_head.weight",
        "positions": "inner.embed_pos.embedding_weight",
        "H_init": "inner.H_init",
        "L_init": "inner.L_init",
    }
    if ours in table:
        return table[ours]
    core = "inner.H_level.layers." if case.separate else "inner.L_level.layers."
    name = ours.replace("core.blocks.", core)
    name = name.replace("core_L.blocks.", "inner.L_level.layers.")
    for mine, theirs in [
        ("attention.qkv", "self_attn.qkv_proj"),
        ("attention.out", "self_attn.o_proj"),
        (".gate_up.", ".gate_up_proj."),
        (".down.", ".down_proj."),
    ]:
        name = name.replace(mine, theirs)
    return name


def run_official(case: Case) -> dict[str, Tensor]:
    """Logits and loss of every supervision step, and the gradients summed over them."""
    from models.recursive_reasoning import trm

    from models import losses

    model = official_model(case)
    tokens, labels = inputs(case)
    batch = {
        "inputs": tokens,
        "labels": labels,
        "puzzle_identifiers": torch.zeros(case.batch, dtype=torch.long),
    }
    head = losses.ACTLossHead(model, case.loss)
    if case.loss == "softmax_cross_entropy":  # as published it is refused an argument it is given
        plain = head.loss_fn
        head.loss_fn = lambda *a, valid_mask, **k: plain(*a, **k)
    carry, out = head.initial_carry(batch), {}
    kept = trm.torch.no_grad
    if case.gradient == "full":
        trm.torch.no_grad = contextlib.nullcontext
    try:
        for step in range(case.supervision_steps):
            carry, loss, metrics, shown, halted = head(["logits"], carry=carry, batch=batch)
            loss.backward()
            out[f"logits_{step}"] = shown["logits"]
            out[f"loss_{step}"] = metrics["lm_loss"]
            assert bool(halted) == (step + 1 == case.supervision_steps)
    finally:
        trm.torch.no_grad = kept
    out["z_H"], out["z_L"] = carry.inner_carry.z_H, carry.inner_carry.z_L
    gradients = dict(model.named_parameters())
    for key in weights(case):
        if not key.endswith("_init"):
            out[f"grad/{key}"] = gradients[official_name(key, case)].grad
    return {key: value.detach().clone() for key, value in out.items()}


def main() -> None:
    """Print the largest relative deviation of each quantity; write the golden file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.official))
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    widen()
    golden = {}
    for case in CASES:
        theirs, ours = run_official(case), run_ours(case)
        assert theirs.keys() == ours.keys(), set(theirs) ^ set(ours)
        worst = {"logits": 0.0, "loss": 0.0, "grad": 0.0, "z": 0.0}
        for key, value in theirs.items():
            kind = key.split("/")[0].split("_")[0]
            gap = (ours[key] - value).abs().max() / value.abs().max()
            worst[kind] = max(worst[kind], float(gap))
            golden[f"{case.name}:{key}"] = sketch(key, value).numpy()
        print(case.name, worst)
    if arguments.write:
        np.savez_compressed(arguments.write, **golden)


if __name__ == "__main__":
    main()
