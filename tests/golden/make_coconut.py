# ruff: noqa: T201 - a script that reports to whoever runs it
"""Compare with the published COCONUT class in float64 and write ``coconut.npz`` from it.

Development only; needs a checkout of that repository (not part of this one) and an environment
with transformers 4.46:

    PYTHONPATH=src python tests/golden/make_coconut.py --official <checkout> \
        --write tests/golden/coconut.npz
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from golden import coconut_case as case


def run_official() -> dict[str, Tensor]:
    """Thoughts, logits, loss and gradients of the published class over a tiny random GPT-2."""
    from coconut import Coconut
    from transformers import GPT2Config, GPT2LMHeadModel

    base = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=case.VOCAB,
            n_positions=case.POSITIONS,
            n_embd=case.DIM,
            n_layer=case.LAYERS,
            n_head=case.HEADS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )
    base.transformer.load_state_dict(case.weights())
    model = Coconut(base, case.LATENT, case.START, case.END, case.EOS)
    ids, labels = case.token_ids()
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    out = model(ids, torch.ones_like(ids), labels, positions)
    out.loss.backward()
    first = case.QUESTION + 1
    thoughts = out.inputs_embeds[:, first : first + case.NUM_THOUGHTS]
    result = {"thoughts": thoughts, "logits": out.logits, "loss": out.loss}
    gradients = {f"grad/{k}": p.grad for k, p in base.transformer.named_parameters()}
    return {k: v.detach().clone() for k, v in (result | gradients).items()}


def main() -> None:
    """Print the largest relative deviation of each quantity; write the golden file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.official))
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    theirs, ours = run_official(), case.run_ours()
    assert theirs.keys() == ours.keys(), set(theirs) ^ set(ours)
    for key, value in theirs.items():
        print(key, float((ours[key] - value).abs().max() / value.abs().max()))
    if arguments.write:
        np.savez_compressed(arguments.write, **{k: v.numpy() for k, v in theirs.items()})


if __name__ == "__main__":
    main()
