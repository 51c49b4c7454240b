"""The comparison with the published COCONUT class: sizes, weights, inputs, and our side.

Our side runs ``continuous_thoughts`` over a GPT-2 written out here without a key cache: every
step runs the whole sequence again, so the cache of the published class is checked as well.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from golden.weights import integers, uniform
from hybrid_pipeline.models.coconut import continuous_thoughts

VOCAB, POSITIONS, DIM, LAYERS, HEADS = 12, 16, 16, 2, 2
LATENT, START, END, EOS = 8, 9, 10, 11
BATCH, NUM_THOUGHTS, QUESTION, ANSWER = 2, 3, 4, 2


def token_ids() -> tuple[Tensor, Tensor]:
    """Question, <start>, latents, <end>, answer; only the answer carries labels."""
    question = integers("coconut/question", (BATCH, QUESTION), LATENT)
    answer = integers("coconut/answer", (BATCH, ANSWER), LATENT)
    special = torch.tensor([START, *[LATENT] * NUM_THOUGHTS, END]).expand(BATCH, -1)
    ids = torch.cat([question, special, answer], dim=1)
    labels = ids.clone()
    labels[:, :-ANSWER] = -100
    return ids, labels


def weights() -> dict[str, Tensor]:
    """Weights of a tiny GPT-2 in the published names (matrices are [in, out])."""
    shapes = {"wte.weight": (VOCAB, DIM), "wpe.weight": (POSITIONS, DIM)}
    for layer in range(LAYERS):
        for name, shape in [
            ("ln_1", (DIM,)),
            ("attn.c_attn", (DIM, 3 * DIM)),
            ("attn.c_proj", (DIM, DIM)),
            ("ln_2", (DIM,)),
            ("mlp.c_fc", (DIM, 4 * DIM)),
            ("mlp.c_proj", (4 * DIM, DIM)),
        ]:
            shapes[f"h.{layer}.{name}.weight"] = shape
            shapes[f"h.{layer}.{name}.bias"] = shape[-1:]
    shapes |= {"ln_f.weight": (DIM,), "ln_f.bias": (DIM,)}
    drawn = {key: uniform(f"coconut/{key}", shape, 0.3) for key, shape in shapes.items()}
    return {k: v + 1 if "ln_" in k and k.endswith("weight") else v for k, v in drawn.items()}


def gpt2_hidden(w: dict[str, Tensor], embedding: Tensor) -> Tensor:
    """Last hidden states [B, N, D] of a GPT-2 for input embeddings [B, N, D]."""
    length = embedding.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    x = embedding + w["wpe.weight"][:length]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (DIM,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    for layer in range(LAYERS):
        name = f"h.{layer}"
        qkv = linear(norm(x, f"{name}.ln_1"), f"{name}.attn.c_attn").chunk(3, dim=-1)
        q, k, v = (part.view(len(x), length, HEADS, -1).transpose(1, 2) for part in qkv)
        score = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        mixed = score.masked_fill(~causal, -torch.inf).softmax(dim=-1) @ v
        x = x + linear(mixed.transpose(1, 2).flatten(2), f"{name}.attn.c_proj")
        inner = linear(norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc")
        x = x + linear(functional.gelu(inner, approximate="tanh"), f"{name}.mlp.c_proj")
    return norm(x, "ln_f")


def run_ours() -> dict[str, Tensor]:
    """Thoughts, logits of every position, loss and gradients."""
    w = {key: value.requires_grad_() for key, value in weights().items()}
    ids, labels = token_ids()
    embedding = w["wte.weight"][ids]
    seen = embedding[:, :QUESTION]

    def step(token: Tensor) -> Tensor:
        nonlocal seen
        seen = torch.cat([seen, token], dim=1)
        return gpt2_hidden(w, seen)[:, -1:]

    thoughts = continuous_thoughts(step, embedding[:, QUESTION : QUESTION + 1], NUM_THOUGHTS)
    rest = embedding[:, QUESTION + 1 + NUM_THOUGHTS :]
    logits = gpt2_hidden(w, torch.cat([seen, thoughts[-1], rest], dim=1)) @ w["wte.weight"].T
    loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    loss.backward()
    out = {"thoughts": torch.cat(thoughts, dim=1), "logits": logits, "loss": loss}
    return {k: v.detach() for k, v in out.items()} | {f"grad/{k}": v.grad for k, v in w.items()}
