"""What is refused or warned of once it is known which nodes will run, before the first of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_pipeline.arms import Arm, find_arm
from hybrid_pipeline.config import (
    AblationConfig,
    ClipConfig,
    ConfigError,
    GeneratedTask,
    HaltingConfig,
    ModelConfig,
    RenderingConfig,
    StabilityConfig,
    StorageConfig,
    TrainingConfig,
)
from hybrid_pipeline.features.sources import model_of, with_random_weights
from hybrid_pipeline.kedro_ext.devices import check_devices
from hybrid_pipeline.kedro_ext.project_parameters import check_files
from hybrid_pipeline.kedro_ext.resources import check_disk, check_memory
from hybrid_pipeline.models.needs import Sizes, check_arm
from hybrid_pipeline.tasks import TasksConfig, source_of
from hybrid_pipeline.training.cards import Card

logger = logging.getLogger(__name__)


def check_run(
    parameters: Mapping[str, Any], root: Path, nodes: Iterable[Any], runner: str = ""
) -> None:
    """Refuse what the run's nodes could not use; warn of a study that nothing can be judged by.

    Args:
        parameters: merged and valid parameters.
        root: of the project.
        nodes: of the filtered pipeline, with ``tags`` and ``namespace``.
        runner: as it describes itself.

    Raises:
        ConfigError: one sentence with the parameter, its value and what is allowed.
    """
    nodes = list(nodes)
    tags = {tag for node in nodes for tag in node.tags}
    spaces = {str(node.namespace).split(".")[0] for node in nodes if node.namespace}
    check_files(parameters, root)
    card = check_devices(parameters, tags, runner)
    names = {tag.removeprefix("arm.") for tag in tags if tag.startswith("arm.")}
    if "reporting" in spaces and parameters.get("claims"):
        _check_claims(parameters, names)
    if "stability" in spaces:
        _check_stability(parameters)
        names.add(StabilityConfig.model_validate(parameters.get("stability") or {}).arm)
    arms = sorted(_known(names), key=lambda arm: arm.name)
    model = ModelConfig.model_validate(parameters.get("model") or {})
    if arms or "data" in spaces:
        _check_sizes(parameters, root, model, arms, card)
    _check_parts(parameters, root, model, arms)
    if arms and "reporting" in spaces:
        _warn_of_few_seeds(parameters)


def _warn_of_few_seeds(parameters: Mapping[str, Any]) -> None:
    from hybrid_pipeline.stats.contrasts import MIN_SEEDS  # scipy: not for every run

    ablation = AblationConfig.model_validate(parameters.get("ablation") or {})
    if ablation.num_blocks >= MIN_SEEDS:
        return
    given = f"num_seeds = {ablation.num_seeds}"
    advice = f"for verdicts run --params ablation.num_seeds={MIN_SEEDS}"
    if ablation.sequential:
        given = f"looks = {list(ablation.looks)}"
        advice = f"for verdicts let the last look see {MIN_SEEDS} seeds"
    logger.warning(
        "ablation.%s: the report will show scores but judge nothing, since verdicts need at least "
        "%d seeds; %s.",
        given,
        MIN_SEEDS,
        advice,
    )


def _check_sizes(
    parameters: Mapping[str, Any],
    root: Path,
    model: ModelConfig,
    arms: Iterable[Arm],
    card: Card | None,
) -> None:
    training = TrainingConfig.model_validate(parameters.get("training") or {"lr_warmup_ratio": 0})
    halting = HaltingConfig.model_validate(parameters.get("halting") or {})
    rendering = RenderingConfig.model_validate(parameters.get("rendering") or {})
    clip = ClipConfig.model_validate(parameters.get("clip") or {})
    storage = StorageConfig.model_validate(parameters.get("storage") or {})
    tasks = TasksConfig.model_validate(parameters["tasks"])
    generated = [(n, t) for n, t in tasks.root.items() if isinstance(t, GeneratedTask)]
    slots = (math.prod(source_of(n, t, root).grid_shape or (1,)) for n, t in generated)
    sizes = Sizes(model, training, halting, max(slots, default=1), rendering.image_size)
    check_memory(arms, sizes, card=card)
    check_disk(tasks, rendering, clip, root / storage.root)


def _known(names: Iterable[str]) -> Iterator[Arm]:
    """The arms among the tags; the stability study tags its settings in the same way."""
    for name in names:
        try:
            yield find_arm(name)
        except ValueError:
            continue


def _check_stability(parameters: Mapping[str, Any]) -> None:
    tasks = parameters.get("tasks", {})
    wanted = (parameters.get("stability") or {}).get("tasks") or ()
    for name in wanted:
        if name not in tasks:
            raise ConfigError(
                f"parameter 'stability.tasks' = {list(wanted)!r} is refused: there is no task "
                f"{name!r} (allowed here: {', '.join(sorted(tasks))}, or null for all)."
            )


def _check_claims(parameters: Mapping[str, Any], arms: Iterable[str]) -> None:
    from hybrid_pipeline.claims.claims import Claims, check_names  # scipy: not for every run

    claims = Claims.model_validate(parameters["claims"])
    check_names(claims, names=sorted(arms), tasks=sorted(parameters["tasks"]), topics=())


def _check_parts(
    parameters: Mapping[str, Any], root: Path, model: ModelConfig, arms: Sequence[Arm]
) -> None:
    clip, width = ClipConfig.model_validate(parameters.get("clip") or {}), None
    if any(arm.tower == "random" for arm in arms):
        with_random_weights(clip)
    if any(arm.reads_tokens for arm in arms):
        tower = model_of(clip, root)
        inside = (tower.get("vision_cfg") or {}).get("width")
        width = tower["embed_dim"] if clip.projected else inside
    for arm in arms:
        check_arm(arm, model, width)
