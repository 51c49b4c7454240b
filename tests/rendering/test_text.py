"""Text images against Pillow's own drawing, layout rules and refusals."""

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from hybrid_pipeline.config import RenderingConfig
from hybrid_pipeline.rendering import (
    DoesNotFitError,
    MissingGlyphError,
    render_text,
    text_grid,
    to_float,
)
from hybrid_pipeline.rendering.atlas import (
    PRINTABLE_ASCII,
    _drawn,
    atlas_for,
    font_path,
    has_glyph,
    load_font,
)
from hybrid_pipeline.rendering.levels import BACKGROUND_LEVEL, INK_LEVEL, from_coverage
from hybrid_pipeline.rendering.text import margins, undrawable, wrap
from hybrid_pipeline.visible_text import visible


def drawn_by_pillow(text, config):
    """The same characters, line after line, by Pillow on one image."""
    grid = text_grid(config)
    atlas = atlas_for(config.font_size_px, text)
    top, left = margins(atlas, grid.rows, grid.columns, config.image_size)
    image = Image.new("L", (config.image_size, config.image_size), 0)
    for number, line in enumerate(text.split("\n")):
        place = (left, top + number * config.font_size_px)
        ImageDraw.Draw(image).text(place, line, 255, load_font(config.font_size_px))
    return from_coverage(np.asarray(image))


@pytest.mark.parametrize("font_size_px", [6, 7, 8, 9, 10, 11, 12, 14, 20])
@pytest.mark.parametrize("image_size", [64, 96, 224])
def test_text_equals_pillows_basic_layout(font_size_px, image_size):
    config = RenderingConfig(image_size=image_size, font_size_px=font_size_px)
    grid = text_grid(config)
    characters = np.random.default_rng(0).choice(
        list(PRINTABLE_ASCII), (3, grid.rows, grid.columns)
    )
    texts = ["\n".join("".join(line).replace(" ", "x") for line in text) for text in characters]
    images = render_text(texts, config)
    for text, image in zip(texts, images, strict=True):
        np.testing.assert_array_equal(image, drawn_by_pillow(text, config))


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet="AÅgjÇ@Wß⊕→fi|_,", min_size=1, max_size=12))
def test_any_characters_of_the_font_equal_pillow(text):
    config = RenderingConfig(image_size=96, font_size_px=10)
    np.testing.assert_array_equal(render_text([text], config)[0], drawn_by_pillow(text, config))


@pytest.mark.parametrize("font_size_px", [7, 9, 12])
def test_no_printable_character_is_cut_at_the_border(font_size_px):
    config = RenderingConfig(image_size=64, font_size_px=font_size_px)
    grid = text_grid(config)
    last = "\n" * (grid.rows - 1) + " " * (grid.columns - 1)
    characters = list(PRINTABLE_ASCII.strip())
    middle = to_float(render_text([f"\n\n   {c}" for c in characters], config)).sum((1, 2))
    first = to_float(render_text(characters, config)).sum((1, 2))
    corner = to_float(render_text([last + c for c in characters], config)).sum((1, 2))
    np.testing.assert_allclose(first, middle, rtol=1e-5)
    np.testing.assert_allclose(corner, middle, rtol=1e-5)


def test_levels_leave_headroom_and_invert():
    image = render_text(["###"], RenderingConfig())
    assert image.min() == BACKGROUND_LEVEL
    assert image.max() <= INK_LEVEL
    assert to_float(np.array([BACKGROUND_LEVEL, INK_LEVEL], dtype=np.uint8)).tolist() == [0, 1]
    assert to_float(image).dtype == np.float32


def test_wrapping_breaks_at_words_then_inside_long_words():
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("abcdefghij k", 4) == ["abcd", "efgh", "ij k"]
    assert wrap("a\n\nb  ", 4) == ["a", "", "b"]
    assert wrap("  x", 4) == ["  x"]


@given(st.text(alphabet="ab ", max_size=60), st.integers(3, 12))
def test_wrapping_keeps_every_letter_and_the_limit(text, columns):
    lines = wrap(text, columns)
    assert all(len(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_too_long_a_text_is_refused_by_name_and_limit():
    config = RenderingConfig(image_size=64, font_size_px=9)
    with pytest.raises(DoesNotFitError, match=r"row 41 needs 9 lines.*holds 7"):
        render_text(["fits", "x\n" * 8], config, names=["row 40", "row 41"])


def test_a_font_larger_than_the_image_is_refused():
    with pytest.raises(DoesNotFitError, match="font_size_px 60"):
        text_grid(RenderingConfig(image_size=16, font_size_px=60))


def test_control_characters_and_tabs_are_normalised():
    assert visible("a\tb\x00c\r\n½") == "a bc\n1\u20442"
    assert visible("\ufb01lm\u200d") == "film"


@pytest.mark.parametrize("between", ["\r", "\v", "\f", "\x1d", "\x85", "\u2028", "\u2029"])
def test_every_line_break_is_one(between):
    assert visible(f"the{between}rapist") == "the\nrapist"


@pytest.mark.parametrize(
    "between", ["\t", "\x1f", "\u200b", "\u2800", "\u1680", "\u3000", "\ufffc"]
)
def test_every_blank_is_one(between):
    assert visible(f"the{between}rapist") == "the rapist"


@pytest.mark.parametrize(
    "unseen", ["\ufe0f", "\U000e0100", "\u034f", "\u115f", "\u3164", "\u00ad", "\u2060", "\x08"]
)
def test_what_has_no_shape_is_dropped(unseen):
    assert visible(f"the{unseen}rapist") == "therapist"
    assert visible(f"cafe{unseen}\u0301") == "caf\u00e9"


def test_what_is_left_has_ink_or_is_refused():
    """No two texts that differ in one visible character of the font look alike."""
    for point in TTFont(font_path()).getBestCmap():
        for character in visible(chr(point)):
            if character not in " \n" and undrawable(character) is None:
                assert any(_drawn(character)[1]), hex(point)


def test_arabic_is_refused_as_hebrew_is():
    for text in ("\u0633\u0644\u0627\u0645", "\u05e9\u05dc\u05d5\u05dd"):
        with pytest.raises(MissingGlyphError, match=r"row 7 .* written from right to left"):
            render_text([f"to {text}"], RenderingConfig(), names=["row 7"])


def test_the_message_says_how_many_more_cannot_be_drawn():
    texts = ["fine", *["\U0001f642 smile"] * 9]
    with pytest.raises(
        MissingGlyphError, match=r"example 1 .*; 8 more .*: example 2, .*example 6, \.\.\.$"
    ):
        render_text(texts, RenderingConfig())
    with pytest.raises(DoesNotFitError, match=r"example 0 needs .*; 1 more .*: example 2$"):
        render_text(["x " * 99, "fits", "y " * 99], RenderingConfig())


def test_the_font_has_the_characters_that_its_table_lists():
    listed = set(TTFont(font_path()).getBestCmap())
    for point in [*range(32, 127), *range(0xA0, 0x2200), 0x2028, 0xFE0F, 0x6F22, 0x1F642]:
        assert has_glyph(chr(point)) == (point in listed), hex(point)
    assert not has_glyph("\ud800")


@pytest.mark.parametrize(
    ("text", "found"),
    [("漢字", r"'漢' \(U\+6F22\)"), ("ok 🙂", r"U\+1F642"), ("\ue000", r"U\+E000")],
)
def test_a_character_that_the_font_lacks_is_refused_by_name(text, found):
    with pytest.raises(MissingGlyphError, match=rf"row 41 .*{found}.*DejaVu Sans Mono lacks"):
        render_text(["abc é €", text], RenderingConfig(), names=["row 40", "row 41"])


def test_batches_and_single_images_agree():
    config = RenderingConfig()
    texts = ["A>B", "x y\nz", "é"]
    together = render_text(texts, config)
    apart = np.concatenate([render_text([text], config) for text in texts])
    np.testing.assert_array_equal(together, apart)
    assert render_text([], config).shape == (0, 64, 64)
