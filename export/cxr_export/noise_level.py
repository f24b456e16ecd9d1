"""Build weights/noise_level.onnx: the noise estimate as a small ONNX file, by the recipe of the cards.

With it, two calls lead from pixels to pixels in any runtime. It contains no trained values, only those of the recipe.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from cxr_export.parity import Parity
from cxr_export.to_onnx import OPSET
from cxr_infer.errors import ModelError
from cxr_infer.files import write_bytes
from cxr_infer.imaging import mottle
from cxr_infer.imaging.metrics import largest_difference
from cxr_infer.imaging.mottle import poisson_mottle, recipe_level
from cxr_infer.imaging.noise_blocks import BRIGHTEST, DARKEST
from cxr_infer.imaging.phantom import SMALLEST, render_phantom
from cxr_infer.model.card import NOISE_LEVEL, NOISE_LEVEL_FILE, NOISE_LEVEL_RECIPE, NOISY, RESEARCH_USE
from cxr_infer.model.session import open_session

# Largest difference from the recipe in NumPy, as a fraction of the level or of LEAST_LEVEL if that is larger. Sums
# are rounded in another order, and the bins' edges are brightnesses that blocks of 8-bit pixels can have exactly: such
# a block falls to either side. Elsewhere the two are within 1e-5. A level 5% off costs the denoiser 0.02 dB.
TOLERANCE, LEAST_LEVEL = 2e-3, 1e-3
SIDES = ((8, 8), (64, 96), (118, 150), (256, 256), (333, 511))  # px, of the phantoms used for verification
DOSES = (12.0, 71.0, 600.0)  # photons at white
SEED = 17
TINY = 1e-12  # lower bound of divisors

# N images, H x W px, B blocks, R rows of blocks: one for each bin of brightness, and one of all blocks for images that
# fill no bin. Blocks are sorted by their variance once, so that the median of a row is where half of it is counted.
GRAPH = """
<ir_version: 8, opset_import: ["" : {opset}]>
noise_level (float[batch, 1, height, width] noisy) => (float[batch] noise_level) {{
    padded = Pad <mode = "reflect"> (noisy, around)
    high_pass = Conv <dilations = [{spacing}, {spacing}]> (padded, taps)
    energy = Mul (high_pass, high_pass)
    is_black = Less (noisy, darkest)
    is_white = Greater (noisy, brightest)
    black = Cast <to = 1> (is_black)
    white = Cast <to = 1> (is_white)
    black_or_white = Add (black, white)

    energies = AveragePool <kernel_shape = [{block}, {block}], strides = [{block}, {block}]> (energy)
    means = AveragePool <kernel_shape = [{block}, {block}], strides = [{block}, {block}]> (noisy)
    shares = AveragePool <kernel_shape = [{block}, {block}], strides = [{block}, {block}]> (black_or_white)
    variance_of_blocks = Reshape (energies, a_row)
    mean_of_blocks = Reshape (means, a_row)
    saturated_of_blocks = Reshape (shares, a_row)
    shape = Shape (variance_of_blocks)
    blocks = Gather <axis = 0> (shape, last)
    variance, order = TopK <axis = 2, largest = 0, sorted = 1> (variance_of_blocks, blocks)
    mean = GatherElements <axis = 2> (mean_of_blocks, order)
    saturated = GatherElements <axis = 2> (saturated_of_blocks, order)

    is_from = GreaterOrEqual (mean, bins_from)
    is_below = Less (mean, bins_to)
    from = Cast <to = 1> (is_from)
    below = Cast <to = 1> (is_below)
    in_bins = Mul (from, below)
    is_bright = Greater (mean, zero)
    is_open = Less (saturated, one)
    bright = Cast <to = 1> (is_bright)
    open = Cast <to = 1> (is_open)
    in_any = Mul (bright, open)
    member = Concat <axis = 1> (in_bins, in_any)

    count = ReduceSum <keepdims = 1> (member, over_blocks)
    divisor = Max (count, one)
    member_mean = Mul (member, mean)
    sum_of_means = ReduceSum <keepdims = 1> (member_mean, over_blocks)
    mean_of_row = Div (sum_of_means, divisor)
    member_saturated = Mul (member, saturated)
    sum_saturated = ReduceSum <keepdims = 1> (member_saturated, over_blocks)
    saturated_of_row = Div (sum_saturated, divisor)

    rank = CumSum (member, blocks_axis)
    half = Mul (count, one_half)
    down = Floor (half)
    upper = Add (down, one)
    lower = Ceil (half)
    is_lower = Equal (rank, lower)
    is_upper = Equal (rank, upper)
    at_lower = Cast <to = 1> (is_lower)
    at_upper = Cast <to = 1> (is_upper)
    at_either = Add (at_lower, at_upper)
    chosen = Mul (at_either, member)
    twice = Mul (chosen, variance)
    sum_of_both = ReduceSum <keepdims = 1> (twice, over_blocks)
    median = Mul (sum_of_both, one_half)

    has_enough = GreaterOrEqual (count, least)
    is_too_white = Greater (saturated_of_row, most_saturated)
    enough = Cast <to = 1> (has_enough)
    too_white = Cast <to = 1> (is_too_white)
    not_too_white = Sub (one, too_white)
    good = Mul (enough, not_too_white)
    good_bin = Mul (good, is_bin)
    weight_of_bins = Mul (good_bin, count)
    all_bins = ReduceSum <keepdims = 1> (weight_of_bins, over_rows)
    no_bin = Less (all_bins, one)
    needs_any = Cast <to = 1> (no_bin)
    is_any = Sub (one, is_bin)
    weight_of_any = Mul (is_any, needs_any)
    weight = Add (weight_of_bins, weight_of_any)

    bounded = Max (mean_of_row, tiny)
    four_means = Mul (bounded, four)
    level_of_row = Div (median, four_means)
    weighted = Mul (weight, level_of_row)
    total = ReduceSum <keepdims = 0> (weighted, over_both)
    weights = ReduceSum <keepdims = 0> (weight, over_both)
    square = Div (total, weights)
    root = Sqrt (square)
    noise_level = Min (root, most)
}}
"""


def noise_level_graph() -> onnx.ModelProto:
    """Return the estimate as an ONNX model: `noisy` (N, 1, H, W) float32 in [0, 1], at least 8 px a side -> (N,)
    float32.
    """
    spacing, block = mottle.TAP_SPACING, mottle.BLOCK
    model = onnx.parser.parse_model(GRAPH.format(opset=OPSET, spacing=spacing, block=block))
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _constants().items())
    told = {"purpose": "estimate of the noise that `window` is told", "recipe": NOISE_LEVEL_RECIPE}
    for key, value in {**told, "limits": RESEARCH_USE}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model, full_check=True)
    return model


def _constants() -> dict[str, NDArray[np.generic]]:
    edges = bin_edges()
    taps = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32) / np.float32(6)
    pads = [0, 0, mottle.TAP_SPACING, mottle.TAP_SPACING] * 2
    integers = {"around": pads, "a_row": [0, 1, -1], "last": [2], "over_blocks": [2], "over_rows": [1]}
    numbers = {
        "darkest": DARKEST,
        "brightest": BRIGHTEST,
        "zero": 0,
        "one": 1,
        "one_half": 0.5,
        "four": 4,
        "tiny": TINY,
        "least": mottle.MIN_BLOCKS,
        "most_saturated": mottle.MAX_SATURATED,
        "most": mottle.MAX_LEVEL,
    }
    return {
        **{name: np.array(value, np.int64) for name, value in integers.items()},
        **{name: np.array(value, np.float32) for name, value in numbers.items()},
        "over_both": np.array([1, 2], np.int64),
        "blocks_axis": np.array(2, np.int64),
        "taps": taps[None, None],
        "bins_from": edges[None, :-1, None],
        "bins_to": edges[None, 1:, None],
        "is_bin": np.append(np.ones(mottle.BINS), 0).astype(np.float32)[None, :, None],
    }


def bin_edges() -> NDArray[np.float32]:
    """Return the smallest float32 brightness of each bin, and the smallest above the last, (BINS + 1,).

    NumPy's estimate sorts blocks in float64: an edge rounded to float32 would include values just below it.
    """
    low, high = mottle.BIN_RANGE

    def least(number: int) -> np.float32:
        edge = np.float32(low + number * (high - low) / mottle.BINS)
        while np.floor((float(edge) - low) / (high - low) * mottle.BINS) >= number:
            edge = np.nextafter(edge, np.float32(0))
        while np.floor((float(edge) - low) / (high - low) * mottle.BINS) < number:
            edge = np.nextafter(edge, np.float32(1))
        return edge

    return np.array([least(number) for number in range(mottle.BINS + 1)], np.float32)


def prove_noise_level(model: onnx.ModelProto) -> Parity:
    """Compare the graph with `mottle.recipe_level` on phantoms, on black, gray and white, one by one and as a batch."""
    session = open_session(model.SerializeToString(), Path(NOISE_LEVEL_FILE), threads=1)
    rng = np.random.default_rng(SEED)
    largest, cases = 0.0, 0
    for height, width in SIDES:
        clean = render_phantom(SEED, max(height, width, SMALLEST))[:height, :width]
        images = [np.minimum(poisson_mottle(clean, dose, rng), np.float32(1)) for dose in DOSES]
        images += [clean, *(np.full_like(clean, gray) for gray in (0, 0.5, 1))]
        expected = np.array([recipe_level(image) for image in images])
        (together,) = session.run([NOISE_LEVEL], {NOISY: np.stack(images)[:, None]})
        alone = [session.run([NOISE_LEVEL], {NOISY: image[None, None]})[0][0] for image in images]
        for found in (together, np.array(alone)):
            scale = np.maximum(expected, LEAST_LEVEL)
            largest = max(largest, largest_difference(found / scale, expected / scale))
        cases += len(images)
    return Parity(largest, cases, TOLERANCE)


def export_noise_level(weights: Path) -> Parity:
    """Write the file into a weights directory. Raises ModelError if it differs from the recipe; the old file is
    kept.
    """
    model = noise_level_graph()
    proof = prove_noise_level(model)
    if not proof.holds:
        raise ModelError(f"{NOISE_LEVEL_FILE}: differs from the recipe by {proof.largest:.1e}; the old file was kept")
    write_bytes(weights / NOISE_LEVEL_FILE, model.SerializeToString(deterministic=True))
    return proof
