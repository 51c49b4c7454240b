"""Claims as data: what was stated, where, and which code recomputes or confronts it.

The claims of the seed analysis are in ``conf/base/parameters/claims.yml``; a file of one's own has
the same form. No verdict is written down: arithmetic is recomputed, gains are held against the
measured relative gain, stability promises against a stability experiment.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from hybrid_pipeline.claims.recompute import RECOMPUTATIONS
from hybrid_pipeline.claims.recomputed import Recomputed
from hybrid_pipeline.components import components
from hybrid_pipeline.config import ConfigError, StrictConfig, explain
from hybrid_pipeline.stats.results import MEAN_TASK, Finite

Kind = Literal["arithmetic", "gain", "ceiling", "compounding", "stability"]
Unit = Literal[
    "gain",
    "percent",
    "factor",
    "number",
    "rate",
    "million",
    "GB",
    "batches",
    "steps",
    "epochs",
    "samples",
    "hours",
]

TOPICS = (
    "nan_risk_high_lr",
    "smoother_low_lr",
    "high_lr_unstable",
    "low_dqn_lr_stabilises",
    "short_warmup_unstable",
    "warmup_stabilises_dqn",
    "beta2_stabilises",
    "short_dqn_warmup_unstable",
    "clipping_prevents_explosions",
    "low_weight_decay_faster",
    "temperature_explores",
    "expansion_penalty_simplifies",
)
"""Promises about training; which of them an experiment varies is its own affair."""


class Claim(StrictConfig):
    """One quantitative statement.

    Attributes:
        id: short name, unique in the file.
        section: where it stands; ``quote``: a few of its words.
        kind: ``arithmetic`` (recomputed), ``gain`` (a relative gain, held against the
            measurement), ``ceiling`` (the baseline that a gain needs), ``compounding`` (that gains
            multiply), ``stability`` (a promise about training).
        value: as stated, one value or both ends; gains and percentages as fractions.
        unit: how ``value`` is shown.
        decimals: of the stated value as shown; it holds if the recomputed one rounds to it.
        tolerance: replaces ``decimals`` by an absolute tolerance.
        recompute: name of the recomputation; ``inputs``: its arguments.
        component: what a gain is claimed for: a component, an arm, or ``total``.
        task: the task a gain is claimed for.
        topic: the stability finding that decides.
        remark: a sentence that the verdict is shown with.
    """

    id: str = Field(min_length=1)
    section: str
    quote: str = Field(min_length=1)
    kind: Kind
    value: Finite | tuple[Finite, Finite] | None = None
    unit: Unit = "number"
    decimals: int = Field(default=0, ge=0, le=8)
    tolerance: float | None = Field(default=None, ge=0)
    recompute: str = ""
    inputs: dict[str, Any] = Field(default_factory=dict)
    component: str = ""
    task: str = MEAN_TASK
    topic: str = ""
    remark: str = ""

    @property
    def ends(self) -> tuple[float, ...]:
        """The stated value or values, low first."""
        if self.value is None:
            return ()
        return self.value if isinstance(self.value, tuple) else (self.value,)

    @field_validator("value", mode="before")
    @classmethod
    def _one_number_or_two(cls, value: Any) -> Any:
        ends = value if isinstance(value, list | tuple) else (value, value)
        try:
            right = value is None or (len(ends) == 2 and all(math.isfinite(float(x)) for x in ends))
        except (TypeError, ValueError):
            right = False
        if not right:
            raise ValueError("a value is one number, or [low, high]")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {
            "arithmetic": ("recompute",),
            "gain": ("value", "component"),
            "ceiling": ("value",),
            "compounding": (),
            "stability": ("topic",),
        }[self.kind]
        absent = [name for name in needs if getattr(self, name) in ("", None)]
        if absent:
            raise ValueError(f"claim {self.id!r} of kind {self.kind} needs {', '.join(absent)}")
        if len(self.ends) == 2 and self.ends[0] > self.ends[1] and self.kind != "arithmetic":
            raise ValueError(f"claim {self.id!r} has its ends the wrong way round")
        if self.kind in ("gain", "ceiling") and self.ends[0] <= -1:
            raise ValueError(f"claim {self.id!r} loses all or more: a gain must be above -1")
        if self.kind == "arithmetic":
            self._check_recomputation()
        return self

    def _check_recomputation(self) -> None:
        if self.recompute not in RECOMPUTATIONS:
            raise ValueError(
                f"claim {self.id!r} names the unknown recomputation {self.recompute!r}; expected "
                f"one of {', '.join(RECOMPUTATIONS)}"
            )
        try:
            result = self.recomputed()
        except (TypeError, ValueError, KeyError, ArithmeticError, AttributeError) as error:
            expected = inspect.signature(RECOMPUTATIONS[self.recompute])
            raise ValueError(
                f"claim {self.id!r} gives {self.recompute}{_bare(expected)} inputs that it cannot "
                f"use ({error})"
            ) from error
        if result.code is None and not self.ends:
            raise ValueError(f"claim {self.id!r} needs value to be compared with")

    def recomputed(self) -> Recomputed:
        """Run the recomputation on the inputs."""
        return RECOMPUTATIONS[self.recompute](**self.inputs)


def _bare(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"


class Claims(StrictConfig):
    """The statements of one source.

    ``document`` is the file that they are taken from, relative to the project; empty without one.
    """

    source: str = Field(min_length=1)
    document: str = ""
    disclaimer: str = "Claimed figures are estimates, not measurements."
    statements: tuple[Claim, ...]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if not self.statements:
            raise ValueError("there is no statement to judge")
        ids = [claim.id for claim in self.statements]
        repeated = sorted({name for name in ids if ids.count(name) > 1})
        if repeated:
            raise ValueError(f"the claim id {', '.join(repeated)} is used twice")
        return self


_NAMES_OF: Mapping[Kind, tuple[str, ...]] = {
    "arithmetic": (),
    "gain": ("component", "task"),
    "ceiling": ("task",),
    "compounding": ("task",),
    "stability": ("topic",),
}


def check_names(
    claims: Claims, *, names: Collection[str], tasks: Collection[str], topics: Collection[str]
) -> None:
    """Refuse claims about what neither the project nor this study knows.

    Args:
        claims: to be judged.
        names: arms and components of the study, besides the project's components.
        tasks: of the study.
        topics: of its stability findings, besides the project's.

    Raises:
        ConfigError: one sentence with every such claim and what is allowed.
    """
    own = (record.name for record in components())
    named = dict.fromkeys([*own, "vit", "total", *names])
    allowed = {
        "component": tuple(named),
        "task": (MEAN_TASK, *tasks),
        "topic": tuple(dict.fromkeys([*TOPICS, *topics])),
    }
    unknown = [
        f"claim {claim.id!r} names the unknown {key} {getattr(claim, key)!r} "
        f"(allowed: {', '.join(allowed[key])})"
        for claim in claims.statements
        for key in _NAMES_OF[claim.kind]
        if getattr(claim, key) not in allowed[key]
    ]
    if unknown:
        raise ConfigError(f"{'; '.join(unknown)}.")


class StabilityFinding(StrictConfig):
    """What a stability experiment says about one promise.

    Attributes:
        outcome: ``supported``, ``refuted`` or ``inconclusive``.
        detail: what was compared, with seeds and figures.
    """

    outcome: Literal["supported", "refuted", "inconclusive"]
    detail: str = ""


def read_claims(path: Path) -> Claims:
    """Read a claims file: YAML (or JSON) with the top-level key ``claims``.

    Raises:
        ConfigError: one sentence that names what is wrong.
    """
    if not path.is_file():
        raise ConfigError(f"there is no claims file {path}.")
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = " ".join(str(error).split())
        raise ConfigError(f"{path} is not readable YAML: {first}.") from error
    if not isinstance(content, Mapping) or list(content) != ["claims"]:
        raise ConfigError(f"{path} must have the single top-level key 'claims'.")
    try:
        return Claims.model_validate(content["claims"])
    except ValidationError as error:
        raise ConfigError(explain(error, "claims", Claims)) from error
