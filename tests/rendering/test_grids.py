"""Grid images: what is drawn where, read back from the pixels."""

import json

import numpy as np
import pytest

from hybrid_pipeline.config import RenderingConfig
from hybrid_pipeline.rendering import DoesNotFitError, render_grids, render_prompts, to_float
from hybrid_pipeline.rendering.atlas import sprite
from hybrid_pipeline.rendering.levels import from_coverage

CONFIG = RenderingConfig(image_size=64)


def sudoku(clues):
    return json.dumps({"sudoku": clues}, separators=(",", ":"))


def maze(right, down, start=0, goal=8):
    content = {"right": right, "down": down, "start": start, "goal": goal}
    return json.dumps({"maze": content}, separators=(",", ":"))


def squares_of(image, side):
    size = image.shape[0] // side
    inner = image[: size * side, : size * side].reshape(side, size, side, size)
    return inner.transpose(0, 2, 1, 3)[:, :, 3:-3, 3:-3]


def test_each_clue_is_its_digit_and_blanks_are_empty():
    rng = np.random.default_rng(0)
    clues = rng.integers(0, 5, (6, 4, 4))
    images = render_grids([sudoku(c.tolist()) for c in clues], CONFIG)
    assert images.shape == (6, 64, 64)
    for grid, image in zip(clues, images, strict=True):
        for (row, column), digit in np.ndenumerate(grid):
            expected = (
                np.zeros((16, 16))
                if digit == 0
                else to_float(from_coverage(sprite(str(digit), 16)))
            )
            found = to_float(squares_of(image, 4)[row, column])
            np.testing.assert_array_equal(found, expected[3:-3, 3:-3])


def test_digits_fit_their_square_and_differ():
    for square in (7, 8, 16, 24, 56):
        sprites = [sprite(d, square) for d in "123456789SG"]
        for number, image in enumerate(sprites):
            assert image.any()
            assert not image[[0, -1]].any(), "ink on the square's top or bottom line"
            for other in sprites[:number]:
                assert (image != other).any()


def test_box_lines_are_darker_than_square_lines():
    ink = to_float(render_grids([sudoku([[0] * 4] * 4)], CONFIG)[0])
    assert ink[8, 32] == 1
    assert ink[32, 8] == 1
    assert 0.2 < ink[8, 16] < 0.6


def test_walls_stand_exactly_where_ways_are_closed():
    rng = np.random.default_rng(1)
    for _ in range(20):
        right, down = rng.integers(0, 2, (4, 3)), rng.integers(0, 2, (3, 4))
        ink = to_float(render_grids([maze(right.tolist(), down.tolist(), 5, 6)], CONFIG)[0])
        centres = [8, 24, 40, 56]
        for (r, c), is_open in np.ndenumerate(right):
            assert (ink[centres[r], 16 * (c + 1)] == 0) == bool(is_open)
        for (r, c), is_open in np.ndenumerate(down):
            assert (ink[16 * (r + 1), centres[c]] == 0) == bool(is_open)
        assert ink[0].min() == ink[-1].min() == ink[:, 0].min() == ink[:, -1].min() == 1


def test_start_and_goal_are_drawn_in_their_squares():
    open_ = ([[1] * 3] * 4, [[1] * 4] * 3)
    image = render_grids([maze(*open_, start=1, goal=14)], CONFIG)[0]
    blocks = to_float(squares_of(image, 4)).sum((2, 3)) > 0
    assert np.flatnonzero(blocks).tolist() == [1, 14]
    swapped = render_grids([maze(*open_, start=14, goal=1)], CONFIG)[0]
    assert (image != swapped).any()


def test_a_batch_equals_single_images():
    rng = np.random.default_rng(2)
    prompts = [sudoku(rng.integers(0, 10, (9, 9)).tolist()) for _ in range(3)]
    apart = np.concatenate([render_grids([p], CONFIG) for p in prompts])
    np.testing.assert_array_equal(render_grids(prompts, CONFIG), apart)


def test_squares_below_seven_pixels_are_refused():
    with pytest.raises(DoesNotFitError, match=r"example 7 is a grid of 10 x 10.*at most 9 x 9"):
        render_grids([maze([[1] * 9] * 10, [[1] * 10] * 9)], CONFIG, names=["example 7"])


def test_mixed_kinds_and_shapes_are_refused():
    with pytest.raises(ValueError, match=r"maze.*sudoku"):
        render_grids([sudoku([[0] * 4] * 4), maze([[1] * 2] * 3, [[1] * 3] * 2)], CONFIG)
    with pytest.raises(ValueError, match="one shape"):
        render_grids([sudoku([[0] * 4] * 4), sudoku([[0] * 9] * 9)], CONFIG)


def test_prompts_are_drawn_as_grid_or_text():
    grid = sudoku([[1, 2, 3, 4]] * 4)
    np.testing.assert_array_equal(render_prompts([grid], CONFIG), render_grids([grid], CONFIG))
    assert render_prompts(['{"not": a grid}'], CONFIG).shape == (1, 64, 64)
    assert render_prompts([], CONFIG).shape == (0, 64, 64)
