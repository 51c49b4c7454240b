"""What the advisor says, as the report shows it."""

from __future__ import annotations

from typing import Literal

from hybrid_pipeline.config import StrictConfig


class AdvisorNote(StrictConfig):
    """One remark of the learning-curve advisor."""

    level: Literal["info", "warning", "problem"] = "info"
    where: str = ""
    text: str
    suggestion: str = ""
