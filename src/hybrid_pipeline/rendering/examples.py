"""From prompts to clean images, and the key of everything that shapes them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import features

from hybrid_pipeline.config import RenderingConfig
from hybrid_pipeline.rendering.atlas import font_key
from hybrid_pipeline.rendering.grids import is_grid, render_grids
from hybrid_pipeline.rendering.levels import UInt8
from hybrid_pipeline.rendering.text import render_text
from hybrid_pipeline.storage import code_fingerprint, content_key, library_versions


def render_prompts(
    prompts: Sequence[str], config: RenderingConfig, names: Sequence[str] | None = None
) -> UInt8:
    """Clean images of what says itself what it is, such as the strings of the pretraining.

    A task's examples are drawn by its source, which knows what they are.

    Args:
        prompts: n texts, or n grids of one kind (:mod:`hybrid_pipeline.rendering.grids`).
        config: image and font size.
        names: what to call each example in an error; its position if left out.

    Returns:
        uint8 [n, H, W] in the levels of :mod:`hybrid_pipeline.rendering.levels`.

    Raises:
        UndrawableError: naming the example and the limit, or the character.
    """
    draw = render_grids if prompts and all(map(is_grid, prompts)) else render_text
    return draw(prompts, config, names)


def renderer_key(config: RenderingConfig) -> str:
    """A key of the rendering parameters, the font's bytes, the libraries and this code.

    Distributions and rasterisation are not guaranteed across versions of NumPy, Pillow, FreeType
    and OpenCV. ``rows_per_shard`` shapes files, not pixels, and is left out.
    """
    versions = library_versions("numpy", "pillow", "opencv-python-headless")
    versions["freetype"] = str(features.version("freetype2"))
    parameters = config.model_dump(mode="json", exclude={"rows_per_shard"})
    code = code_fingerprint("rendering", "seeding.py", "visible_text.py")
    return content_key("renderer", parameters, font_key(), versions, code)
