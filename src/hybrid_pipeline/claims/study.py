"""A study's results with a verdict on everything that was claimed about it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hybrid_pipeline.claims.audit import Measured, audit
from hybrid_pipeline.claims.claims import Claims, StabilityFinding, check_names
from hybrid_pipeline.stats.analysis import Study, analyse
from hybrid_pipeline.stats.contrasts import contrast_arrays, contrast_variance
from hybrid_pipeline.stats.power import study_mde80
from hybrid_pipeline.stats.results import MEAN_TASK, Effect, Interval, StudyResults
from hybrid_pipeline.stats.scores import ScoreMatrix, at_length, check_scores


def analyse_with_claims(
    study: Study,
    claims: Claims | None,
    stability: Mapping[str, StabilityFinding] | None = None,
) -> StudyResults:
    """Analyse a study and judge the claims about it.

    Args:
        study: the table and what is preregistered about it.
        claims: what was claimed; ``None`` for nothing.
        stability: topic -> finding of a stability experiment, for claims about training.

    Raises:
        ScoreTableError: if the table is malformed; missing cells are listed instead.
        ConfigError: if a claim names what is not in the study.
        ValueError: if no arm of the study has scores.
    """
    results = analyse(study)
    if claims is None:
        return results
    stability = stability or {}
    _check_claims(claims, study, results, stability)
    verdicts = audit(claims, _measured(study, results, stability))
    return results.model_copy(update={"claims": verdicts})


def _check_claims(
    claims: Claims,
    study: Study,
    results: StudyResults,
    stability: Mapping[str, StabilityFinding],
) -> None:
    parts = (
        part
        for arm, components in study.components.items()
        if arm not in study.controls
        for part in components
    )
    names = dict.fromkeys([*study.arms, *parts])
    check_names(claims, names=names, tasks=results.tasks, topics=stability)


def _measured(
    study: Study, results: StudyResults, stability: Mapping[str, StabilityFinding]
) -> Measured:
    """What claims are held against: stages by component and by arm, and the total."""
    matrix = _judged_scores(study, results)
    gains: dict[tuple[str, str], Interval] = {}
    baselines: dict[tuple[str, str], float] = {}
    mde_logs: dict[tuple[str, str], float] = {}
    for effect in results.effects:
        if effect.kind not in ("stage", "total"):
            continue
        names = ["total"] if effect.kind == "total" else [effect.component, effect.arm]
        baseline = _geometric_baseline(matrix, effect)
        tasks = matrix.tasks if effect.task == MEAN_TASK else (effect.task,)
        weights = {effect.arm: 1.0, effect.reference: -1.0}
        log = contrast_variance(matrix, weights, tasks, "log")
        for name in filter(None, names):
            if effect.relative is not None and log is not None:
                gains[name, effect.task] = effect.relative
                mde_logs[name, effect.task] = study_mde80(log, results.alpha)
            if baseline is not None:
                baselines[name, effect.task] = baseline
    compound = results.compound()
    return Measured(
        gains,
        baselines,
        None if compound is None else compound.interaction,
        stability=stability,
        mde_logs=mde_logs,
        plateau_reached=None if results.plateau is None else results.plateau.reached,
        floor=results.floor,
    )


def _judged_scores(study: Study, results: StudyResults) -> ScoreMatrix:
    """The scores at the longest training, which the effects are of."""
    table = check_scores(study.scores, metrics=set(study.metrics.values()))
    return ScoreMatrix.from_table(at_length(table, results.lengths[-1].length), study.metrics)


def _geometric_baseline(matrix: ScoreMatrix, effect: Effect) -> float | None:
    """The accuracy that a gain starts from; over tasks the geometric mean."""
    tasks = matrix.tasks if effect.task == MEAN_TASK else (effect.task,)
    strata = contrast_arrays(matrix, {effect.reference: 1.0}, tasks, "log")
    return None if strata is None else float(np.exp(np.mean([d.mean() for d in strata])))
