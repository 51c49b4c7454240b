"""An arm without weights, for whatever follows from shapes: parameters, operations.

Drawing the weights of a ViT-B takes seconds, and nothing that is counted depends on them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from hybrid_pipeline.arms import Arm
from hybrid_pipeline.config import ModelConfig
from hybrid_pipeline.models.hybrid import HybridModel, build_model
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.torch_seeding import torch_seeded


def build_shapes(arm: Arm, config: ModelConfig, shape: InputShape) -> HybridModel:
    """The arm on the device ``meta``, where tensors have shapes only.

    A component of one's own may compute with its weights while it is built; then they are drawn.

    Raises:
        ValueError: as ``build_model`` does.
    """
    try:
        with _without_weights():
            model = build_model(arm, config, shape, seed=0)
    except (NotImplementedError, RuntimeError):  # what torch raises where a shape has no values
        model = build_model(arm, config, shape, seed=0)
    return model.to("meta")


@contextmanager
def _without_weights() -> Iterator[None]:
    """Leave the weights of the modules that this thread builds empty: shapes only.

    The hook is torch's and global: the lock of the generator keeps it from models that other
    threads build meanwhile, and modules built without a seed tell threads apart.
    """
    owner = threading.get_ident()

    def emptied(_module: nn.Module, _name: str, weights: nn.Parameter) -> nn.Parameter | None:
        if weights.is_meta or threading.get_ident() != owner:  # a tied weight stays one
            return None
        return nn.Parameter(weights.to("meta"), requires_grad=weights.requires_grad)

    with torch_seeded(0):
        hook = register_module_parameter_registration_hook(emptied)  # type: ignore[arg-type]
        try:
            yield
        finally:
            hook.remove()
