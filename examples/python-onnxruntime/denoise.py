"""Run the models in onnxruntime: the graph on its test tensors, then a whole image in windows.

Everything outside the graph is specified in the manifest, as data: how to estimate the noise level, and how to lay and
blend windows. This program uses nothing else.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import onnxruntime

WEIGHTS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "weights"


def load(array):
    return np.load(WEIGHTS / array["npy"])


def noise_level(image, step):
    """Return one number for a whole image (H, W) in [0, 1], by the step `noise_level` of the manifest."""
    (height, width), spacing, side = image.shape, step["high_pass"]["spacing"], step["block"]
    padded = np.pad(image, spacing, mode="reflect")
    high_pass = sum(
        tap * padded[row * spacing :, column * spacing :][:height, :width]
        for (row, column), tap in np.ndenumerate(step["high_pass"]["taps"])
    )

    def blocks(values):
        rows, columns = height // side, width // side
        return values[: rows * side, : columns * side].reshape(rows, side, columns, side).mean(axis=(1, 3)).ravel()

    variance, mean = blocks((high_pass / step["high_pass"]["divisor"]) ** 2), blocks(image)
    saturated = blocks((image <= 0) | (image >= 1))
    low, high = step["bin_range"]
    index = np.floor((mean - low) / (high - low) * step["bins"])
    bins = [index == number for number in range(step["bins"])]
    bins = [b for b in bins if b.sum() >= step["least_blocks"] and saturated[b].mean() <= step["most_saturated"]]
    bins = bins or [(mean > 0) & (saturated < 1)]
    counts = [b.sum() for b in bins]
    levels = [np.median(variance[b]) / (4 * mean[b].mean()) for b in bins]
    return min(math.sqrt(np.average(levels, weights=counts)), step["most"])


def window_starts(extent, side, overlap, multiple):
    """Return the length of the windows along an axis, and their starts, by the step `window` of the manifest."""
    cells, shared = math.ceil(extent / multiple), math.ceil(overlap / multiple)
    count = max(1, math.ceil((cells - shared) / math.ceil(side / multiple)))
    length = min(cells, math.ceil((cells + (count - 1) * shared) / count))
    return length * multiple, [i * (cells - length) // max(count - 1, 1) * multiple for i in range(count)]


def blended(pieces, starts, length, blind_share):
    """Join pieces along their first axis, by the step `blend` of the manifest."""
    canvas = pieces[0]
    for piece, start in zip(pieces[1:], starts[1:], strict=True):
        shared = len(canvas) - start
        rise = np.clip(((np.arange(shared) + 0.5) / shared - blind_share) / (1 - 2 * blind_share), 0, 1)
        weight = (rise * rise * (3 - 2 * rise)).astype(np.float32)[:, None]
        joint = canvas[start:] + weight * (piece[:shared] - canvas[start:])
        canvas = np.concatenate([canvas[:start], joint, piece[shared:]])
    return canvas


def denoise_in_windows(session, image, steps, side, overlap):
    """Denoise a whole image (H, W) float32 in [0, 1], in windows of `side` px plus overlap; the result has the same
    shape.
    """
    multiple, blind_share = steps["pad"]["multiple"], steps["blend"]["blind_share"]
    level = np.array([noise_level(image, steps["noise_level"])], np.float32)
    height, tops = window_starts(image.shape[0], side, overlap, multiple)
    width, lefts = window_starts(image.shape[1], side, overlap, multiple)
    below, right = tops[-1] + height - image.shape[0], lefts[-1] + width - image.shape[1]
    padded = np.pad(image, ((0, below), (0, right)), mode="symmetric")

    def window(top, left):
        piece = padded[None, None, top : top + height, left : left + width]
        return session.run(["denoised"], {"noisy": piece, "noise_level": level})[0][0, 0]

    bands = [blended([window(top, left).T for left in lefts], lefts, width, blind_share).T for top in tops]
    return blended(bands, tops, height, blind_share)[: image.shape[0], : image.shape[1]]


def with_fixed_shapes(session, path, inputs):
    """Open the same model for images of one shape, as in programs that know their image size."""
    options = onnxruntime.SessionOptions()
    for node in session.get_inputs():
        for name, side in zip(node.shape, inputs[node.name].shape, strict=True):
            if isinstance(name, str):
                options.add_free_dimension_override_by_name(name, side)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def estimate_differs(manifest):
    """Whether the ONNX noise estimate differs from the level in the manifest by more than the tolerance."""
    file, image = manifest["noise_estimate"], manifest["models"]["window"]["test"]["image"]
    session = onnxruntime.InferenceSession(WEIGHTS / file["file"], providers=["CPUExecutionProvider"])
    (found,) = session.run(["noise_level"], {"noisy": load(image["noisy"])[None, None]})
    difference = abs(found[0] / image["noise_level"] - 1)
    print(f"noise_level fp32: largest difference {difference:.1e}, at most {file['tolerance']:g}")
    return not difference <= file["tolerance"]


def main():
    manifest = json.loads((WEIGHTS / "manifest.json").read_text(encoding="utf-8"))
    failed = False
    for name, model in manifest["models"].items():
        test, steps = model["test"], {step["step"]: step for step in model["before"] + model["after"]}
        for precision, file in model["files"].items():
            session = onnxruntime.InferenceSession(WEIGHTS / file["file"], providers=["CPUExecutionProvider"])
            inputs = {key: load(array) for key, array in test["inputs"].items()}
            (found,) = session.run(["denoised"], inputs)
            (fixed,) = with_fixed_shapes(session, WEIGHTS / file["file"], inputs).run(["denoised"], inputs)
            expected = test["expected"][precision]["denoised"]
            cases = {"": (found, expected), " fixed": (fixed, expected)}
            if "window" in steps:
                image = test["image"]
                result = denoise_in_windows(session, load(image["noisy"]), steps, image["window"], image["overlap"])
                cases[" image"] = (result, image["expected"][precision])
            for case, (result, expected) in cases.items():
                difference = np.abs(result - load(expected)).max()
                print(f"{name} {precision}{case}: largest difference {difference:.1e}, at most {file['tolerance']:g}")
                failed |= not difference <= file["tolerance"]
    return failed | estimate_differs(manifest)


if __name__ == "__main__":
    sys.exit(main())
