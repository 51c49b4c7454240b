"""Typed parameters with bounds; conf/ holds the values."""

from hybrid_pipeline.config.ablation import AblationConfig
from hybrid_pipeline.config.base import (
    ConfigError,
    PathText,
    StrictConfig,
    at_home,
    explain,
    suggestion,
)
from hybrid_pipeline.config.clip import (
    ClipConfig,
    ClipPretrainingConfig,
    set_tower_sources,
)
from hybrid_pipeline.config.evaluation import EvaluationConfig
from hybrid_pipeline.config.halting import HaltingConfig
from hybrid_pipeline.config.model import (
    CoconutConfig,
    CoreConfig,
    ModelConfig,
    N2NConfig,
    TrmConfig,
    VitConfig,
    set_model_groups,
    swiglu_width,
)
from hybrid_pipeline.config.plugins import PluginsConfig
from hybrid_pipeline.config.rendering import NoiseConfig, RenderingConfig
from hybrid_pipeline.config.review import (
    AdvisorConfig,
    CountsConfig,
    DocumentConfig,
    ReviewConfig,
    RuleConfig,
)
from hybrid_pipeline.config.stability import StabilityConfig
from hybrid_pipeline.config.storage import StorageConfig
from hybrid_pipeline.config.tasks import (
    GeneratedTask,
    PrimaryMetric,
    TaskConfig,
    without_removed,
)
from hybrid_pipeline.config.training import TrainingConfig

__all__ = [
    "AblationConfig",
    "AdvisorConfig",
    "ClipConfig",
    "ClipPretrainingConfig",
    "CoconutConfig",
    "ConfigError",
    "CoreConfig",
    "CountsConfig",
    "DocumentConfig",
    "EvaluationConfig",
    "GeneratedTask",
    "HaltingConfig",
    "ModelConfig",
    "N2NConfig",
    "NoiseConfig",
    "PathText",
    "PluginsConfig",
    "PrimaryMetric",
    "RenderingConfig",
    "ReviewConfig",
    "RuleConfig",
    "StabilityConfig",
    "StorageConfig",
    "StrictConfig",
    "TaskConfig",
    "TrainingConfig",
    "TrmConfig",
    "VitConfig",
    "at_home",
    "explain",
    "set_model_groups",
    "set_tower_sources",
    "suggestion",
    "swiglu_width",
    "without_removed",
]
