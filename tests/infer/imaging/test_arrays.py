"""Anything that a caller may pass to `denoise`: denoised like the equal array, or refused with advice."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cxr_infer import ImageError, Model, UsageError, denoise, load_model
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.pixels import to_bytes


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("window")


@pytest.fixture(scope="module")
def image(noisy: NDArray[np.float32]) -> NDArray[np.float32]:
    return noisy[:96, :128]


class Tensor:
    """Like a tensor of torch: NumPy can convert it on the CPU; elsewhere it raises with the reason."""

    def __init__(self, pixels: NDArray[Any], device: str) -> None:
        self.pixels, self.device = pixels, device

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self.device != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu() first")
        return self.pixels


@pytest.mark.parametrize("kind", ["u2", "f4", "f8", "f2"])
def test_byte_order_does_not_matter(model: Model, image: NDArray[np.float32], kind: str) -> None:
    native = (image * (65535 if kind == "u2" else 1)).astype(kind)
    for order in "<>":
        given = native.astype(f"{order}{kind}")
        result = denoise(given, model)
        assert result.dtype == given.dtype
        np.testing.assert_array_equal(result, denoise(native, model))


def test_lists_tensors_and_gray_pillow_images_are_accepted(model: Model, image: NDArray[np.float32]) -> None:
    gray, deep = to_bytes(image), (image * 65535).astype(np.uint16)
    expected = denoise(gray, model)
    np.testing.assert_array_equal(denoise(Image.fromarray(gray), model), expected)
    np.testing.assert_array_equal(denoise(Tensor(gray, "cpu"), model), expected)
    np.testing.assert_array_equal(denoise(Image.fromarray(deep), model), denoise(deep, model))
    np.testing.assert_allclose(denoise(image.tolist(), model), denoise(image, model), atol=1e-6)
    np.testing.assert_array_equal(denoise(np.asfortranarray(gray), model), expected)
    np.testing.assert_array_equal(denoise(gray[::-1, ::-1], model), denoise(gray[::-1, ::-1].copy(), model))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([[1, 2], [3, 4]], "type int64"),
        ([[0.1, 0.2], [0.3]], "cannot convert a list to an array"),
        ([], "shape"),
        (None, "shape"),
        ("x.png", "is a path, not an image; use denoise_file"),
        ([["a", "b"]], "type <U1"),
        (np.zeros((4, 4), bool), "type bool"),
        (np.zeros((4, 4), complex), "type complex128"),
        (np.zeros((4, 4), ">i2"), "type >i2"),
        (np.zeros((1, 4, 4), np.uint8), "shape"),
        (np.full((4, 4), np.nan), "lie in"),
        (np.ma.masked_equal(np.eye(4, dtype=np.uint8), 1), "masked"),
        (Image.new("P", (4, 4)), "mode P"),
        (Image.new("RGB", (4, 4)), "mode RGB"),
        (Image.new("1", (4, 4)), "mode 1"),
        (
            Tensor(np.zeros((4, 4), np.uint8), "cuda"),
            r"cannot convert a Tensor to an array: .*Use Tensor.cpu\(\) first",
        ),
    ],
)
def test_non_gray_arrays_are_refused_in_one_line(model: Model, given: Any, problem: str) -> None:
    with pytest.raises(ImageError, match=problem) as raised:
        denoise(given, model)
    assert "\n" not in str(raised.value)


def test_white_sets_the_scale_of_12_bit_values(
    model: Model, clean: NDArray[np.float32], noisy: NDArray[np.float32]
) -> None:
    stored = np.rint(noisy * 4095).astype(np.uint16)
    stored[:2, :2] = 5000  # a burnt-in mark beyond the range
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_white = denoise(stored, model, white=4095)
    assert (with_white[:2, :2] == 5000).all()
    with pytest.warns(UserWarning, match="white=8191"):
        without_white = denoise(stored, model)
    scale, inner = np.float32(4095), (slice(8, None), slice(8, None))
    assert psnr(clean[inner], with_white[inner] / scale) > psnr(clean[inner], without_white[inner] / scale) + 0.5
    gray = to_bytes(noisy)
    np.testing.assert_array_equal(denoise(gray, model, white=4095), denoise(gray, model), "8 bit has its own white")
    with pytest.raises(UsageError, match="white 0 is outside"):
        denoise(stored, model, white=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_inverted_arrays_are_denoised_like_their_originals(
    model: Model, image: NDArray[np.float32], dtype: type
) -> None:
    full = 1 if dtype is np.float32 else np.iinfo(dtype).max
    stored = np.rint(image * full).astype(dtype) if full > 1 else image
    swapped = (full - stored).astype(dtype)
    if dtype is np.float32:  # 1 - (1 - x) differs from x by rounding, which an 8-bit network may turn into a whole step
        model = load_model("window", precision="fp32")
    difference = denoise(swapped, model, invert=True).astype(float) - (full - denoise(stored, model).astype(float))
    assert np.abs(difference).max() <= (0 if full > 1 else 1e-5)
    np.testing.assert_array_equal(denoise(swapped, model, invert=True, strength=0.0), swapped)
