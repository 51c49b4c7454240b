"""Text and grids as images, and noisy pairs of them."""

from hybrid_pipeline.rendering.examples import render_prompts, renderer_key
from hybrid_pipeline.rendering.grids import GridCanvas, character_sprites, render_grids
from hybrid_pipeline.rendering.levels import UInt8, from_coverage, to_float
from hybrid_pipeline.rendering.noise import noisy_views
from hybrid_pipeline.rendering.text import (
    DoesNotFitError,
    MissingGlyphError,
    TextGrid,
    UndrawableError,
    render_text,
    text_grid,
    text_lines,
)

__all__ = [
    "DoesNotFitError",
    "GridCanvas",
    "MissingGlyphError",
    "TextGrid",
    "UInt8",
    "UndrawableError",
    "character_sprites",
    "from_coverage",
    "noisy_views",
    "render_grids",
    "render_prompts",
    "render_text",
    "renderer_key",
    "text_grid",
    "text_lines",
    "to_float",
]
