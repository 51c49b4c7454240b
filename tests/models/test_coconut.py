"""Continuous thoughts against the published class, a path-by-path loop, and by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from golden.coconut_case import run_ours
from hybrid_pipeline.config import CoconutConfig, CoreConfig
from hybrid_pipeline.models.coconut import (
    LatentPlanner,
    PathPlan,
    continuous_thoughts,
    disagreement,
    token_layout,
)
from hybrid_pipeline.models.layers import Core

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "coconut.npz")


def build(num_paths=3, num_thoughts=2, **core_options) -> tuple[LatentPlanner, Core]:
    torch.manual_seed(0)
    core = Core(CoreConfig(dim=16, num_heads=2, **core_options), 5)
    config = CoconutConfig(num_paths=num_paths, num_thoughts=num_thoughts)
    return LatentPlanner(config, 16, 5), core


def plan_of(states, weights) -> PathPlan:
    batch, paths, _, dim = states.shape
    return PathPlan(states, weights, torch.zeros(batch, paths, 1, dim))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_against_the_published_class(dtype, tolerance, in_dtype):
    """One path over a tiny random GPT-2: thoughts, logits, loss, all gradients.

    Relative to the largest entry; fp32 is a loose check, as processors round differently.
    """
    ours = run_ours()
    assert set(GOLDEN.files) == set(ours)
    assert ours["logits"].dtype == dtype
    for key in GOLDEN.files:
        expected = torch.from_numpy(GOLDEN[key])
        scale = expected.abs().max().item()
        assert_close(ours[key].double(), expected, rtol=0, atol=tolerance * scale, msg=key)


def test_each_thought_is_the_next_input():
    seen = []

    def step(embedding):
        seen.append(embedding)
        return embedding * 2 + 1

    thoughts = continuous_thoughts(step, torch.tensor([[[1.0]]]), 3)
    assert [t.item() for t in seen] == [1, 3, 7]
    assert [t.item() for t in thoughts] == [3, 7, 15]


@pytest.mark.parametrize("pos_encodings", ["rope", "learned", "none"])
@pytest.mark.parametrize(("num_paths", "num_thoughts"), [(1, 1), (3, 2), (2, 4)])
def test_against_a_loop_over_paths_without_a_cache(num_paths, num_thoughts, pos_encodings):
    planner, core = build(num_paths, num_thoughts, pos_encodings=pos_encodings)
    y = torch.randn(2, 5, 16)
    plan = planner(core, y)
    for path in range(num_paths):
        tokens = torch.cat([y, planner.path_embeddings[path].expand(2, 1, -1)], dim=1)
        for thought in range(num_thoughts):
            mask = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()
            mask[:5] = torch.arange(tokens.shape[1]) < 5
            hidden = core(tokens, mask=mask)[:, -1]
            assert_close(plan.thoughts[:, path, thought], hidden, rtol=1e-5, atol=1e-5)
            tokens = torch.cat([tokens, hidden[:, None]], dim=1)
        size = tokens.shape[1]
        mask = torch.ones(size + 5, size + 5, dtype=torch.bool).tril()
        mask[:5] = torch.arange(size + 5) < 5
        mask[size:] = torch.arange(size + 5) < size
        positions = torch.cat([torch.arange(size), torch.arange(5)])
        readout = core(torch.cat([tokens, y], dim=1), mask=mask, positions=positions)[:, size:]
        assert_close(plan.states[:, path], readout, rtol=1e-5, atol=1e-5)


def test_layout_by_hand():
    positions, mask = token_layout(num_slots=2, num_paths=2, num_path_tokens=2)
    assert positions.tolist() == [0, 1, 2, 2, 3, 3, 0, 1, 0, 1]
    rows = ["".join("x" if seen else "." for seen in row) for row in mask.tolist()]
    assert rows == [
        "xx........",  # context: itself
        "xx........",
        "xxx.......",  # start of path 0: context and itself
        "xx.x......",  # start of path 1
        "xxx.x.....",  # thought of path 0
        "xx.x.x....",
        "xxx.x.....",  # readout of path 0: context and the path
        "xxx.x.....",
        "xx.x.x....",
        "xx.x.x....",
    ]


def test_paths_do_not_leak_into_one_another():
    planner, core = build()
    y = torch.randn(2, 5, 16)
    before = planner(core, y)
    with torch.no_grad():
        planner.path_embeddings[1] += 1
    after = planner(core, y)
    for path, same in enumerate([True, False, True]):
        assert torch.equal(before.states[:, path], after.states[:, path]) == same


def test_equal_path_embeddings_give_equal_paths():
    planner, core = build()
    with torch.no_grad():
        planner.path_embeddings[:] = planner.path_embeddings[0].clone()
    plan = planner(core, torch.randn(2, 5, 16))
    assert_close(plan.weights, torch.full((2, 3), 1 / 3))
    assert plan.weight_entropy().item() == pytest.approx(math.log(3), rel=1e-5)
    assert plan.diversity().mean().item() == pytest.approx(1, abs=1e-5)
    assert_close(plan.mixed_state(), plan.states[:, 0], rtol=1e-5, atol=1e-5)


def test_only_embeddings_and_scorer_are_new_and_all_are_trained():
    planner, core = build()
    names = {name.split(".")[0] for name, _ in planner.named_parameters()}
    assert names == {"path_embeddings", "scorer"}
    plan = planner(core, torch.randn(2, 5, 16))
    plan.mixed_state()[..., 0].sum().backward()
    for module in (planner, core):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_one_path_is_selected_wholly():
    planner, core = build(num_paths=1)
    plan = planner(core, torch.randn(2, 5, 16))
    logits = torch.randn(2, 1, 5, 4)
    assert_close(plan.weights, torch.ones(2, 1))
    assert plan.weight_entropy() == 0
    assert plan.diversity().tolist() == [0, 0]
    assert disagreement(logits, torch.ones(2, 5, dtype=torch.bool)) == 0
    assert_close(plan.mixed_log_probabilities(logits), logits[:, 0].log_softmax(-1))


def test_mixtures_by_hand():
    states = torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]])  # one example, two paths, one slot
    plan = plan_of(states, torch.tensor([[0.25, 0.75]]))
    assert_close(plan.mixed_state(), torch.tensor([[[0.25, 2.25]]]))
    logits = torch.tensor([[[[0.8, 0.2]], [[0.4, 0.6]]]]).log()
    mixed = plan.mixed_log_probabilities(logits).exp()
    assert_close(mixed, torch.tensor([[[0.25 * 0.8 + 0.75 * 0.4, 0.25 * 0.2 + 0.75 * 0.6]]]))
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert plan.weight_entropy().item() == pytest.approx(entropy)
    assert plan.diversity().mean().item() == pytest.approx(0, abs=1e-6)  # orthogonal states


def test_a_weight_of_zero_has_no_entropy_and_leaves_the_mixture_finite():
    plan = plan_of(torch.randn(1, 2, 1, 3), torch.tensor([[1.0, 0.0]]))
    logits = torch.randn(1, 2, 1, 4)
    assert plan.weight_entropy() == 0
    assert_close(plan.mixed_log_probabilities(logits), logits[:, 0].log_softmax(-1))


def test_diversity_of_opposite_paths_is_the_lower_bound():
    states = torch.tensor([[[[1.0, 0.0]], [[-2.0, 0.0]]]])
    plan = plan_of(states, torch.tensor([[0.5, 0.5]]))
    assert plan.diversity().mean().item() == pytest.approx(-1)


def test_disagreement_by_hand():
    answers = torch.tensor([[[0, 1], [0, 2], [1, 2]]])  # one example, three paths, two slots
    logits = torch.nn.functional.one_hot(answers, 3).float()
    both, first = torch.tensor([[True, True]]), torch.tensor([[True, False]])
    assert disagreement(logits, first).item() == pytest.approx(2 / 3)  # pairs 02 and 12
    assert disagreement(logits, both).item() == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert disagreement(logits, torch.zeros(1, 2, dtype=torch.bool)) == 0


def test_a_slot_mixing_core_is_refused():
    planner, core = build(mlp_t=True, pos_encodings="none")
    with pytest.raises(ValueError, match=r"needs a core with attention.*mlp_t=false"):
        planner(core, torch.randn(2, 5, 16))
