"""The pictures of the HTML report: their content, their size in bytes, and their selection in a long run."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.formats.picture import Picture
from cxr_infer.report.html import ROOM, HtmlReport
from cxr_infer.report.html.encoding import (
    AFTER,
    BEFORE,
    CLEAN,
    ERROR,
    NO_CHANGE,
    RESIDUAL,
    STEPS,
    Pictures,
    amplified,
    encode,
    jpeg,
)
from cxr_infer.report.html.page import RunFacts
from cxr_infer.report.html.selection import Selection, badness
from cxr_infer.report.json_file import JsonReport
from cxr_infer.report.results import DONE, FileResult, Summary
from cxr_infer.report.views import DETAIL, SIDE, TURNED, BeforeAfter, Pairs, paired, view
from cxr_infer.settings import REPORT_LIMIT
from tests.full_disk import full_disk

HEAD = {
    "model": {"name": "window", "precision": "int8", "file": "/m.onnx", "sha256": "ab" * 32},
    "settings": {"strength": 1.0},
    "versions": {},
    "input": "in",
    "output": "out",
}


def test_pictures_of_pure_noise_stay_within_their_size(noisy: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(0)
    allowance = ROOM // REPORT_LIMIT
    noise = rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    large = np.kron(noisy, np.ones((4, 4)))
    grainy = np.clip(255 * large + rng.normal(0, 20, large.shape), 0, 255).astype(np.uint8)
    for pair in (BeforeAfter(grainy, (255 * large).astype(np.uint8)), BeforeAfter(noise, np.full_like(noise, 128))):
        for with_clean in (pair, replace(pair, clean=pair.before)):
            assert sum(map(len, encode(with_clean, allowance).jpegs.values())) <= allowance
    assert REPORT_LIMIT * allowance * 4 / 3 < 24.6e6, "so that 100 images stay below 25 MB"


def test_compression_preserves_the_strength_of_grain(noisy: NDArray[np.float32]) -> None:
    before = np.rint(255 * noisy).astype(np.uint8)
    for step in (step for step in STEPS if step <= 24):
        shown = np.asarray(Image.open(io.BytesIO(jpeg(before, step))), dtype=float)
        flat = slice(100, 160)  # a lung of the phantom, without edges
        assert np.std(shown[flat, flat]) == pytest.approx(np.std(before[flat, flat]), rel=0.1), step


def test_the_residual_is_amplified_around_mid_gray() -> None:
    after = np.full((64, 64), 100, np.uint8)
    before = after.copy()
    before[:32, :32] += 3
    residual, gain = amplified(before, after)
    assert gain > 1
    assert residual.shape == (32, 32)
    assert np.all(residual[20:, 20:] == NO_CHANGE)
    assert np.all(residual[:10, :10] == NO_CHANGE + 3 * gain)
    assert amplified(after, after)[0].min() == NO_CHANGE


def test_a_reference_and_its_difference_from_the_result_are_shown(
    clean: NDArray[np.float32], noisy: NDArray[np.float32]
) -> None:
    before, after, reference = (np.rint(255 * image).astype(np.uint8) for image in (noisy, clean, clean))
    after[40:80, 40:80] = np.minimum(after[40:80, 40:80], 200) + 8
    reference = np.minimum(reference, 200)
    pictures = encode(BeforeAfter(before, np.minimum(after, 208), reference), 400_000)
    seen = {name: np.asarray(Image.open(io.BytesIO(jpeg)), dtype=float) for name, jpeg in pictures.jpegs.items()}
    assert list(pictures.gains) == [RESIDUAL, ERROR]
    assert np.abs(seen[CLEAN] - reference).max() < 4
    assert seen[ERROR][22:38, 22:38].mean() == pytest.approx(NO_CHANGE + 8 * pictures.gains[ERROR], abs=3)
    assert seen[ERROR][:16, :16].mean() == pytest.approx(NO_CHANGE, abs=3)
    assert not {CLEAN, ERROR} & encode(BeforeAfter(before, after), 400_000).jpegs.keys()


def test_100_images_with_references_and_details_stay_below_25_mb(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The pictures fill their allowance to the last byte, and the names have the greatest length."""

    def full(pair: BeforeAfter, allowance: int) -> Pictures:
        names = (BEFORE, AFTER, CLEAN, RESIDUAL, ERROR)
        return Pictures(dict.fromkeys(names, bytes(allowance // len(names))), {RESIDUAL: 32, ERROR: 32}, (1024, 1024))

    monkeypatch.setattr("cxr_infer.report.html.encode", full)
    shown = BeforeAfter(*[np.zeros((8, 8), np.uint8)] * 3)
    summary = Summary()
    with JsonReport() as records, HtmlReport() as page:
        for index in range(REPORT_LIMIT):
            name = f"{index:03}{'x' * 200}.png"
            result = FileResult(name, DONE, "a note; " * 20, width=3000, height=3000, bits=16, psnr=30.0, ssim=0.9)
            summary.add(result)
            records.add(result)
            page.show(result, Pairs(shown, shown))
        page.write(tmp_path / "r.html", RunFacts(HEAD, (), True, False), summary, records)
    assert 24e6 < (tmp_path / "r.html").stat().st_size < 25e6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_shown_upright(orientation: int) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(view(replace(Picture(pixels), orientation=orientation)).whole, expected)
    assert orientation in TURNED or orientation == 1


def test_large_images_are_shown_reduced_and_small_ones_unchanged(noisy_bytes: NDArray[np.uint8]) -> None:
    small = view(Picture(noisy_bytes))
    np.testing.assert_array_equal(small.whole, noisy_bytes)
    assert small.detail is None
    assert view(Picture(np.zeros((3000, 1500), np.uint8))).whole.shape == (SIDE, SIDE // 2)
    assert view(Picture(np.zeros((30_000, 1), np.uint8))).whole.shape == (SIDE, 1)
    twelve = Picture(np.full((4, 4), 4095, np.uint16), white=4095)
    assert view(twelve).whole.min() == 255


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_detail_of_a_large_image_is_shown_unchanged(noisy_bytes: NDArray[np.uint8], orientation: int) -> None:
    pixels = np.full((1500, 1300), 90, np.uint8)
    pixels[700:956, 900:1156] = noisy_bytes
    seen = view(replace(Picture(pixels), orientation=orientation))
    assert seen.place is not None
    row, column = seen.place
    expected = pixels[row : row + DETAIL, column : column + DETAIL]
    np.testing.assert_array_equal(seen.detail, np.rot90(expected, -1) if orientation == 6 else expected)
    assert row < 828 < row + DETAIL
    assert column < 1028 < column + DETAIL
    after = view(replace(Picture(pixels // 2), orientation=orientation), place=seen.place)
    pairs = paired(seen, after)
    assert pairs.detail is not None
    np.testing.assert_array_equal(pairs.detail.after, pairs.detail.before // 2)


def test_the_worst_and_a_uniform_random_sample_are_selected() -> None:
    rng = np.random.default_rng(4)
    counts = np.zeros(60)
    for seed in range(200):
        order = rng.permutation(60)
        selection = Selection[int](20, seed)
        alive: set[int] = set()
        for number in order:
            made: list[int] = []
            dropped = selection.offer((False, float(number)), lambda n=int(number), m=made: m.append(n) or n)
            alive |= set(made)
            alive -= {dropped} if dropped is not None else set()
        assert selection.worst() == list(range(59, 49, -1))
        assert alive == set(selection.all()), "dropped images are reported"
        assert len(selection.sample()) == 10
        assert not selection.complete
        counts[selection.sample()] += 1
    assert counts[:50].min() > 15, "40 expected"
    assert counts[:50].max() < 65


def test_all_images_of_a_short_run_are_selected_in_order() -> None:
    selection = Selection[str](5)
    for name, bad in zip("abcde", (3, 9, 1, 9, 2), strict=True):
        assert selection.offer((False, bad), lambda name=name: name) is None
    assert selection.complete
    assert selection.all() == list("abcde")


def test_a_low_psnr_ranks_worse_than_remaining_mottle() -> None:
    low, high = (FileResult("a", DONE, psnr=psnr, mottle_after=0.1) for psnr in (20.0, 40.0))
    without = FileResult("c", DONE, mottle_after=9.0)
    assert badness(low) > badness(high) > badness(without) > badness(replace(without, mottle_after=1.0))


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    rng = np.random.default_rng(0)
    tracemalloc.start()
    with HtmlReport(6, 400) as report:
        peaks = []
        for index in range(400):
            before, after = rng.integers(0, 256, (2, 128, 128)).astype(np.uint8)
            report.show(
                FileResult(f"{index}.png", DONE, mottle_after=float(rng.random())), Pairs(BeforeAfter(before, after))
            )
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert peaks[-1] < peaks[20] + 200_000, "in bytes; each picture has at least 16,000"


def test_a_full_disk_is_reported_in_one_line() -> None:
    message = r"^cannot store the report: .*; set TMPDIR to a directory with free space$"
    grain = np.random.default_rng(0).integers(0, 256, (1024, 1024)).astype(np.uint8)
    with HtmlReport(1, 1) as page, full_disk(), pytest.raises(ImageError, match=message):
        page.show(FileResult("a.png", DONE), Pairs(BeforeAfter(grain, grain[::-1])))


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(UsageError, match="negative"):
        HtmlReport(-1)
