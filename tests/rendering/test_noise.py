"""Noise against its theory: moments, independence, shared geometry, addressing."""

import numpy as np
import pytest
from noise_bias import NOISE_KINDS, noise_bias, random_text_images

from hybrid_pipeline.config import NoiseConfig, RenderingConfig
from hybrid_pipeline.rendering import (
    noisy_views,
    render_text,
    renderer_key,
    to_float,
)
from hybrid_pipeline.rendering.levels import BACKGROUND_LEVEL
from hybrid_pipeline.rendering.noise import blur, jitter

EVERYTHING = NoiseConfig(
    gaussian_std=0.2,
    salt_and_pepper_share=0.05,
    blur_sigma_px=0.6,
    jpeg_quality=60,
    affine_jitter_px=2.0,
)


def configured(**noise):
    return RenderingConfig(image_size=64, noise=NoiseConfig(**noise))


def views_of(config, n=64):
    ids = np.arange(n, dtype=np.int64)
    clean = random_text_images(ids, config)
    return clean, noisy_views(clean, ids, config)


def test_without_noise_both_views_are_the_clean_image():
    clean, views = views_of(configured())
    np.testing.assert_array_equal(views[:, 0], clean)
    np.testing.assert_array_equal(views[:, 1], clean)


def test_gaussian_noise_has_its_std_no_mean_and_independent_views():
    clean, views = views_of(configured(gaussian_std=0.25), n=128)
    residual = to_float(views) - to_float(clean)[:, None]
    count = residual[:, 0].size
    assert abs(residual.mean(dtype=np.float64)) < 4 * 0.25 / np.sqrt(2 * count)
    quantisation = 1 / 64**2 / 12
    assert residual.std(dtype=np.float64) == pytest.approx(
        np.sqrt(0.25**2 + quantisation), rel=5e-3
    )
    correlation = np.corrcoef(residual[:, 0].ravel(), residual[:, 1].ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(count)
    assert views.min() > 0
    assert views.max() < 255


def test_salt_and_pepper_hits_its_share_with_half_of_each():
    share = 0.2
    images = np.full((64, 64, 64), 128, dtype=np.uint8)  # half ink: both kinds of speck show
    views = noisy_views(images, np.arange(64), configured(salt_and_pepper_share=share))
    ink = to_float(views)
    tolerance = 4 * np.sqrt(0.1 * 0.9 / ink.size)
    assert (ink == 1).mean() == pytest.approx(share / 2, abs=tolerance)
    assert (ink == 0).mean() == pytest.approx(share / 2, abs=tolerance)


def test_the_bias_of_salt_and_pepper_is_share_times_one_half_minus_ink():
    report = noise_bias("salt_and_pepper_share", configured(salt_and_pepper_share=0.1), 200)
    for estimate, expected in ((report.background, 0.05), (report.ink, -0.05)):
        assert abs(estimate.mean - expected) < 4 * estimate.standard_error
        assert estimate.standard_error < 0.003


def test_gaussian_noise_shows_no_bias_and_shares_nothing():
    report = noise_bias("gaussian_std", configured(gaussian_std=0.25), 200)
    for estimate in (report.all_pixels, report.background, report.ink, report.shared):
        assert abs(estimate.mean) < 4 * estimate.standard_error


@pytest.mark.parametrize(
    ("kind", "noise"),
    [
        ("blur_sigma_px", {"blur_sigma_px": 0.7}),
        ("jpeg_quality", {"jpeg_quality": 30}),
        ("affine_jitter_px", {"affine_jitter_px": 1.5}),
        ("salt_and_pepper_share", {"salt_and_pepper_share": 0.1}),
    ],
)
def test_biased_kinds_are_reported_as_such(kind, noise):
    report = noise_bias(kind, configured(**noise), 50)
    assert report.shared.mean > 5 * report.shared.standard_error


def test_the_measurement_looks_at_one_kind_alone():
    mixed = RenderingConfig(noise=EVERYTHING)
    alone = configured(blur_sigma_px=0.6)
    assert noise_bias("blur_sigma_px", mixed, 5) == noise_bias("blur_sigma_px", alone, 5)
    assert len(NOISE_KINDS) == len(NoiseConfig.model_fields)
    with pytest.raises(ValueError, match="must be one of"):
        noise_bias("fog", mixed, 5)


def test_blur_equals_scipy():
    from scipy.ndimage import gaussian_filter

    image = render_text(["A>B"], RenderingConfig())
    expected = gaussian_filter(
        image[0].astype(float), 1.5, mode="constant", cval=BACKGROUND_LEVEL, truncate=4
    )
    assert np.abs(blur(image, 1.5)[0] - expected).max() <= 1.5


def test_geometry_is_shared_by_the_views_and_differs_between_examples():
    clean = np.repeat(render_text(["A>B B>C"], RenderingConfig()), 8, axis=0)
    ids = np.arange(8, dtype=np.int64)
    views = noisy_views(clean, ids, configured(affine_jitter_px=3))
    np.testing.assert_array_equal(views[:, 0], views[:, 1])
    assert len(np.unique(views[:, 0], axis=0)) == 8


def test_jitter_moves_ink_by_at_most_its_bound():
    image = np.full((1, 65, 65), BACKGROUND_LEVEL, dtype=np.uint8)
    image[0, 32, 32] = 255
    for example in range(50):
        moved = to_float(jitter(image, np.array([example]), 0, 2.0))[0]
        y, x = np.indices(moved.shape)
        centre = np.array([(moved * y).sum(), (moved * x).sum()]) / moved.sum()
        # the centre's displacement is the mean of two corners' displacements
        assert np.abs(centre - 32).max() <= 2 + 0.05


def test_a_view_depends_only_on_its_address():
    config = RenderingConfig(noise=EVERYTHING)
    clean, views = views_of(config, n=16)
    some = np.array([11, 3], dtype=np.int64)
    np.testing.assert_array_equal(noisy_views(clean[some], some, config), views[some])
    reseeded = config.model_copy(update={"noise_seed": 1})
    assert (noisy_views(clean, np.arange(16), reseeded) != views).mean() > 0.1


def test_an_empty_batch_stays_empty():
    empty = np.zeros((0, 64, 64), dtype=np.uint8)
    views = noisy_views(empty, np.zeros(0, dtype=np.int64), RenderingConfig(noise=EVERYTHING))
    assert views.shape == (0, 2, 64, 64)


def test_the_key_follows_what_shapes_pixels_and_nothing_else(monkeypatch):
    base = RenderingConfig()
    key = renderer_key(base)
    assert renderer_key(base.model_copy(update={"rows_per_shard": 7})) == key
    for change in ({"image_size": 72}, {"noise_seed": 1}, {"noise": EVERYTHING}):
        assert renderer_key(base.model_copy(update=change)) != key
    monkeypatch.setattr(
        "hybrid_pipeline.rendering.examples.library_versions", lambda *n: dict.fromkeys(n, "0")
    )
    assert renderer_key(base) != key
