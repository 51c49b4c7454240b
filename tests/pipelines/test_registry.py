"""The pipelines of every environment, and that arms differ in nothing but their component."""

from __future__ import annotations

import re
from functools import cache
from graphlib import TopologicalSorter
from itertools import pairwise

import pytest
from kedro_viz.models.flowchart.node_metadata import TaskNodeMetadata
from kedro_viz.models.flowchart.nodes import GraphNode
from pydantic import ValidationError

from hybrid_pipeline.arms import arms_of_design, chain, control_arms
from hybrid_pipeline.config import AblationConfig
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.training.spec import CellSpec
from project_conf import ENVIRONMENTS, catalog_of, groups_of, parameters_of, pipelines_of

NAMES = {
    "__default__", "ablation", "data_rendering", "clip_pretraining", "feature_caching",
    "hybrid_training", "reporting", "hyperparameter_review", "stability",
}  # fmt: skip


composition = cache(pipelines_of)  # of an environment as it is; pipelines do not change


@pytest.fixture(params=ENVIRONMENTS)
def composed(request):
    return request.param, composition(request.param)


def test_every_pipeline_composes(composed):
    _, pipelines = composed
    assert set(pipelines) == NAMES
    assert all(pipeline.nodes for pipeline in pipelines.values())
    names = [node.name for node in pipelines["ablation"].nodes]
    assert len(set(names)) == len(names)
    assert {n.name for n in pipelines["__default__"].nodes} == set(names)


def test_every_dataset_is_in_the_catalog_or_a_parameter(composed):
    """Nothing lives in memory alone: it would be lost between processes and after a kill."""
    env, pipelines = composed
    catalog = catalog_of(env)
    given, kept = set(parameters_of(env)), set(catalog.keys())
    for name, pipeline in pipelines.items():
        for dataset in pipeline.datasets():
            if dataset.startswith("params:"):
                assert dataset.removeprefix("params:").split(".")[0] in given, (name, dataset)
            else:
                assert dataset in kept or catalog.config_resolver.match_dataset_pattern(dataset), (
                    f"{dataset} of {name} is not in the catalog"
                )


def test_every_node_has_a_name_of_its_own(composed):
    """Kedro names the others ``reporting.tabulate__75b54f71``, which no one can type."""
    _, pipelines = composed
    names = {node.name for pipeline in pipelines.values() for node in pipeline.nodes}
    assert not [name for name in names if re.search("__[0-9a-f]{8}$", name)]


def test_kedro_viz_opens_the_code_of_every_node(composed):
    _, pipelines = composed
    for node in pipelines["ablation"].nodes + pipelines["stability"].nodes:
        shown = TaskNodeMetadata(task_node=GraphNode.create_task_node(node, node.name, set()))
        function = shown.code.split("def ", 1)[1].split("(")[0]
        assert node.func.__name__ == function
        assert shown.filepath.endswith("nodes.py")


def test_layers_are_in_one_order(composed):
    """Kedro-Viz shows no layers at all where two depend on one another."""
    env, pipelines = composed
    catalog = catalog_of(env)
    for pipeline in pipelines.values():
        layer = {name: _layer(catalog, name) for name in pipeline.datasets()}
        order = TopologicalSorter()
        for node in pipeline.nodes:
            for output in node.outputs:
                before = {layer[name] for name in node.inputs} - {None, layer[output]}
                if layer[output] is not None:
                    order.add(layer[output], *before)
        order.prepare()  # raises CycleError


def test_arms_differ_in_their_names_only_for_kedro_viz():
    """Kedro-Viz orders boxes with equal links by name; one link more would move an arm."""
    nodes = composition("base")["ablation"].nodes
    arms = [arm.name for arm in chain()]
    assert arms == sorted(arms)
    links = []
    for arm in arms:
        mine = [n for n in nodes if (n.namespace or "").split(".")[0] == arm]
        made = {name for node in mine for name in node.outputs}
        read = {name for node in mine for name in node.inputs} - made
        asked = {name for node in nodes if node not in mine for name in node.inputs}
        assert made & asked == {f"{arm}.cells"}
        links.append({name for name in read if not name.startswith("params:")})
    assert links == [{"task_data"}] * len(arms)


def _layer(catalog, name):
    if name.startswith("params:"):
        return None
    metadata = catalog.get(name).metadata or {}
    return metadata.get("kedro-viz", {}).get("layer")


def test_the_free_inputs_of_the_ablation_are_parameters(composed):
    _, pipelines = composed
    free = pipelines["ablation"].inputs()
    allowed = {"stability.findings"}  # of an earlier run; empty where there is none
    assert {name for name in free if not name.startswith("params:")} <= allowed


def test_advice_follows_every_training(composed):
    """The ablation, the stability study and a cell alone all end with advice from the curves."""
    _, pipelines = composed
    alone = {node.name: node for node in pipelines["hybrid_training"].nodes}["advice.advise"]
    (cell,) = cells(pipelines["hybrid_training"])
    assert set(cell.outputs) < set(alone.inputs)
    assert alone.outputs == ["advice.page", "advice.summary"]
    assert "reporting.advice" in pipelines["ablation"].datasets()
    report = {node.name: node for node in pipelines["stability"].nodes}["stability.report"]
    assert {"task_data", "params:review"} <= set(report.inputs)


def cells(pipeline):
    return [node for node in pipeline.nodes if "cell" in node.tags]


def test_every_arm_with_every_seed_is_one_cell(composed):
    env, pipelines = composed
    found = cells(pipelines["ablation"])
    ablation = groups_of(env)["ablation"]
    arms = arms_of_design(ablation) if env == "gpu" else chain()
    lengths = (0.1, 0.25, 1.0) if env == "gpu" else (0.25, 1.0)
    assert {node.func.args[0] for node in found} == {
        (arm.name, seed, length)
        for arm in arms
        for seed in range(ablation.num_seeds)
        for length in lengths
    }
    assert len(found) == len(arms) * ablation.num_seeds * len(lengths)
    for node in found:
        arm, seed, length = node.func.args[0]
        assert node.namespace == f"{arm}.seed_{seed}"
        percent = f"{100 * length:g}".replace(".", "_")
        assert node.name == f"{arm}.seed_{seed}.train_{percent}_percent"
        assert {f"arm.{arm}", f"seed.{seed}", f"length.{length:g}"} <= node.tags


def test_all_cells_read_the_same_inputs():
    """By construction: one data handle and one set of parameters feed every cell."""
    inputs = {tuple(node.inputs) for node in cells(composition("base")["ablation"])}
    assert inputs == {
        ("task_data", "params:model", "params:training", "params:halting", "params:storage")
    }


def specs(env, **parameters) -> list[CellSpec]:
    groups = groups_of(env, **parameters)
    ablation = groups["ablation"]
    return [
        CellSpec(arm, seed, groups["model"], groups["training"], groups["halting"])
        for seed in range(ablation.first_seed, ablation.first_seed + ablation.num_seeds)
        for arm in arms_of_design(ablation)
    ]


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_arms_differ_in_nothing_but_their_component(env):
    """From the resolved parameters of every cell of the study."""
    adds = {
        "arm_1_baseline": set(),
        "arm_2_clip": set(),
        "arm_3_n2n": {"model.n2n"},
        "arm_4_trm": {"model.n2n", "model.trm", "halting"},
        "arm_5_coconut": {"model.n2n", "model.trm", "model.coconut", "halting"},
    }
    every = [spec for spec in specs(env) if spec.arm.name in adds]
    assert len(every) == len(adds) * groups_of(env)["ablation"].num_seeds
    reference = every[0].parameters()
    full = next(s for s in every if s.arm.name == "arm_5_coconut").parameters()
    for spec in every:
        own = spec.parameters()
        assert own["training"] == reference["training"]
        assert own["seed"] == spec.seed
        parts = {f"model.{name}" for name in own["model"]} | (own.keys() & {"halting"})
        assert parts == {"model.core", "model.vit"} | adds[spec.arm.name]
        for name, part in own["model"].items():
            assert part == full["model"][name]
        if "halting" in own:
            assert own["halting"] == full["halting"]
        arm = own["arm"]
        assert tuple(arm["components"]) == spec.arm.components
        assert arm["tower"] == "clip"
        assert arm["parts"].items() <= full["arm"]["parts"].items()
        assert set(arm["parts"]) == {"vit", "core", *spec.arm.components}
        assert set(own) - {"halting"} == {"arm", "seed", "model", "training"}


def test_each_arm_adds_one_component_to_the_arm_before():
    assert chain()[0].components == ()
    for before, after in pairwise(chain()):
        assert after.components[:-1] == before.components
        assert after.has(after.components[-1])


def test_controls_bring_their_cells_and_the_random_tower():
    pipelines = pipelines_of("base", ablation={"controls": True})
    arms = {node.func.args[0][0] for node in cells(pipelines["ablation"])}
    assert arms == {a.name for a in (*chain(), *control_arms().values())}
    outputs = pipelines["feature_caching"].all_outputs()
    assert "data.maze_4x4.random_features" in outputs
    assert "data.maze_4x4.random_features" not in composition("base")["ablation"].all_outputs()


def test_arms_of_a_block_run_in_a_random_order_that_stays():
    nodes = cells(composition("base")["ablation"])
    again = cells(pipelines_of("base")["ablation"])
    orders = {}
    for block in range(3):
        tagged = {
            next(t for t in node.tags if t.startswith("order.")): node.func.args[0]
            for node in nodes
            if f"block.{block}" in node.tags
        }
        arms = len(chain())
        assert sorted(tagged) == sorted(f"order.{i}" for i in range(2 * arms))
        assert {seed for _, seed, _ in tagged.values()} == {block}
        orders[block] = [tagged[f"order.{i}"][0] for i in range(2 * arms)]
        lengths = [tagged[f"order.{i}"][2] for i in range(2 * arms)]
        assert lengths == [1.0] * arms + [0.25] * arms
        drawn = rng_for("arm_order", 0, block).permutation(arms)
        assert orders[block] == 2 * [chain()[i].name for i in drawn]
    assert len({tuple(order) for order in orders.values()}) > 1
    assert [(n.name, sorted(n.tags)) for n in nodes] == [(n.name, sorted(n.tags)) for n in again]


@pytest.mark.parametrize(
    ("design", "blocks"),
    [({"time_budget_minutes": 5, "max_blocks": 4}, 4), ({"sequential": True, "looks": [3, 5]}, 5)],
)
def test_a_gate_sees_the_blocks_before_it_and_opens_its_own(design, blocks):
    pipeline = pipelines_of("base", ablation=design)["ablation"]
    gates = {n.func.args[0]: n for n in pipeline.nodes if n.name.startswith("blocks.open_")}
    assert sorted(gates) == list(range(blocks))
    for block, gate in gates.items():
        seen = {name for name in gate.inputs if ".cell_" in name}
        assert seen == {
            f"{a.name}.seed_{s}.cell_{p}_percent"
            for a in chain() for s in range(block) for p in (25, 100)
        }  # fmt: skip
        assert gate.outputs == [f"blocks.gate_{block}"]
    for node in cells(pipeline):
        assert f"blocks.gate_{node.func.args[0][1]}" in node.inputs
    for node in pipeline.nodes:
        if node.name.endswith(".collect"):
            assert len(node.inputs) == 2 * blocks


def test_one_arm_can_be_trained_alone():
    pipelines = pipelines_of("base", training={"arm": "control_random_tower", "seed": 4})
    (cell,) = cells(pipelines["hybrid_training"])
    assert cell.func.args == (("control_random_tower", 4, 1.0),)
    assert "data.maze_4x4.random_features" in pipelines["feature_caching"].all_outputs()


def test_lengths_are_nodes_that_a_worker_can_take_one_by_one():
    pipeline = pipelines_of("base", ablation={"lengths": [1.0, 0.125], "num_seeds": 1})["ablation"]
    names = {node.name.rpartition(".")[2] for node in cells(pipeline)}
    assert names == {"train_12_5_percent", "train_100_percent"}
    assert all("params:training" in node.inputs for node in cells(pipeline))
    only = pipelines_of("base", ablation={"lengths": [0.5]})["ablation"]
    assert {node.func.args[0][2] for node in cells(only)} == {0.5}


@pytest.mark.parametrize("lengths", [[], [0.0, 1.0], [1.5], [0.5, 0.5], [-1.0], [float("nan")]])
def test_lengths_are_shares(lengths):
    with pytest.raises(ValidationError, match="length"):
        AblationConfig(lengths=lengths)


def test_lengths_come_in_order():
    assert AblationConfig(lengths=[1.0, 0.25]).lengths == (0.25, 1.0)


def test_a_report_from_kept_files_reads_no_cell():
    """What a finished study keeps is all that the report needs; nothing is trained."""
    pipelines = composition("reference")
    report = pipelines["reporting"]
    assert {n.name for n in report.nodes} == {n.name for n in pipelines["ablation"].nodes}
    assert not cells(pipelines["__default__"])
    kept = {name for name in report.inputs() if not name.startswith("params:")}
    assert kept == {
        "task_data", "reporting.cells", "reporting.scores", "reporting.validations",
        "reporting.updates", "reporting.advice", "reporting.stability", "reporting.context",
    }  # fmt: skip
    catalog = catalog_of("reference")
    paths = {str(catalog.get(name)._filepath) for name in kept}
    written = {str(catalog.get(name)._filepath) for name in report.all_outputs()}
    assert {path.rpartition("/")[0] for path in paths} == {"benchmarks/reference/eight_seeds"}
    assert not any(path.startswith("benchmarks") for path in written)
