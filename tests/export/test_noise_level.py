"""weights/noise_level.onnx computes the recipe of the cards: compared with NumPy, also in OpenCV."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from cxr_export.describe import describe
from cxr_export.noise_level import LEAST_LEVEL, TOLERANCE, bin_edges, noise_level_graph, prove_noise_level
from cxr_infer.errors import ModelError
from cxr_infer.imaging import mottle
from cxr_infer.imaging.mottle import poisson_mottle, recipe_level
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import FloatImage, from_unit, to_unit
from cxr_infer.model.card import NOISE_LEVEL_FILE
from tests.conftest import REPOSITORY

WEIGHTS = REPOSITORY / "weights"
EXACTLY = 1e-5  # relative, if no block lies on the edge of a bin


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(WEIGHTS / NOISE_LEVEL_FILE)


def estimated(session: onnxruntime.InferenceSession, *images: FloatImage) -> FloatImage:
    return np.asarray(session.run(["noise_level"], {"noisy": np.stack(images)[:, None]})[0])


phantom = cache(render_phantom)


def eight_bit(image: FloatImage) -> FloatImage:
    return to_unit(from_unit(image, np.dtype(np.uint8)))


@pytest.mark.parametrize("dose", [12.0, 71.0, 600.0, 5000.0])
@pytest.mark.parametrize("shape", [(256, 256), (118, 150), (97, 64)])
def test_the_graph_computes_the_recipe(
    session: onnxruntime.InferenceSession, dose: float, shape: tuple[int, int]
) -> None:
    clean = phantom(2, max(shape))[: shape[0], : shape[1]]
    noisy = np.minimum(poisson_mottle(clean, dose, np.random.default_rng(0)), np.float32(1))
    assert estimated(session, eight_bit(noisy))[0] == pytest.approx(recipe_level(eight_bit(noisy)), rel=TOLERANCE)
    # without photon counts, no block lies on the edge of a bin
    smooth = np.clip(clean + np.random.default_rng(1).normal(0, 0.03, shape), 0, 1).astype(np.float32)
    assert estimated(session, smooth)[0] == pytest.approx(recipe_level(smooth), rel=EXACTLY)


def test_each_image_of_a_batch_has_its_own_level(session: onnxruntime.InferenceSession) -> None:
    images = [
        eight_bit(np.minimum(poisson_mottle(render_phantom(s, 96), 50.0 * s, np.random.default_rng(s)), 1))
        for s in (1, 2, 9)
    ]
    np.testing.assert_allclose(estimated(session, *images), [recipe_level(i) for i in images], rtol=TOLERANCE)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40)),
        np.ones((40, 40)),
        np.full((40, 40), 0.5),
        np.random.default_rng(0).random((8, 8)),  # one block: no bin is full
        np.random.default_rng(0).random((8, 500)) > 0.5,  # all of it saturated
        np.where(
            np.random.default_rng(0).random((64, 64)) < 0.03, 1, 0.4 + np.random.default_rng(1).random((64, 64)) / 20
        ),
        0.02 + np.random.default_rng(0).random((200, 200)) / 100,  # darker than any bin
    ],
    ids=["black", "white", "gray", "one block", "black and white", "too saturated for its bin", "dark"],
)
def test_images_that_fill_no_bin_match_the_recipe(
    session: onnxruntime.InferenceSession, image: NDArray[np.generic]
) -> None:
    unit = image.astype(np.float32)
    expected = recipe_level(unit)
    assert estimated(session, unit)[0] == pytest.approx(expected, rel=EXACTLY, abs=TOLERANCE * LEAST_LEVEL)
    assert expected <= mottle.MAX_LEVEL


def test_bin_edges_assign_blocks_as_numpy_does() -> None:
    low, high = mottle.BIN_RANGE
    for number, edge in enumerate(bin_edges()):
        sides = np.array([np.nextafter(edge, np.float32(0)), edge]).astype(np.float64)
        assert list(np.floor((sides - low) / (high - low) * mottle.BINS)) == [number - 1, number]


@pytest.mark.parametrize("engine", [cv2.dnn.ENGINE_NEW, cv2.dnn.ENGINE_AUTO])
def test_opencv_computes_the_same_level(session: onnxruntime.InferenceSession, engine: int) -> None:
    network = cv2.dnn.readNetFromONNX(str(WEIGHTS / NOISE_LEVEL_FILE), engine)
    noisy = eight_bit(np.minimum(poisson_mottle(render_phantom(4, 128), 71.0, np.random.default_rng(0)), 1))
    network.setInput(noisy[None, None], "noisy")
    assert network.forward("noise_level").item() == pytest.approx(estimated(session, noisy)[0], rel=TOLERANCE)


def test_a_graph_with_a_changed_constant_is_not_proved() -> None:
    model = noise_level_graph()
    taps = next(tensor for tensor in model.graph.initializer if tensor.name == "taps")
    taps.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(taps) * np.float32(1.01), "taps"))
    assert not prove_noise_level(model).holds


def test_the_shipped_graph_is_up_to_date_and_in_the_manifest() -> None:
    content = (WEIGHTS / NOISE_LEVEL_FILE).read_bytes()
    assert content == noise_level_graph().SerializeToString(deterministic=True)
    entry = json.loads((WEIGHTS / "manifest.json").read_text())["noise_estimate"]
    assert (entry["file"], entry["bytes"], entry["tolerance"]) == (NOISE_LEVEL_FILE, len(content), TOLERANCE)
    graph = onnx.load_from_string(content).graph
    for ours, theirs in ((entry["inputs"], graph.input), (entry["outputs"], graph.output)):
        assert [one["name"] for one in ours] == [value.name for value in theirs]


@pytest.mark.parametrize("card", ["card.json", "card.int8.json"])
def test_the_example_in_a_card_is_reproducible(session: onnxruntime.InferenceSession, card: str) -> None:
    folder = WEIGHTS / "window"
    example = json.loads((folder / card).read_text())["noise_level_example"]
    assert (folder / example["noise_level_file"]).resolve() == WEIGHTS / NOISE_LEVEL_FILE
    image = np.load(folder / example["image"])
    assert estimated(session, image)[0] == pytest.approx(example["noise_level"], rel=TOLERANCE)
    assert example["noise_level"] == pytest.approx(recipe_level(image))


def memory_of(card: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    return {"memory_per_pixel": card["memory_per_pixel"]} if "memory_per_pixel" in step else {}


@pytest.mark.parametrize("name", ["window", "original", "new"])
def test_cards_agree_with_the_manifest(name: str) -> None:
    model = json.loads((WEIGHTS / "manifest.json").read_text())["models"][name]
    for file in model["files"].values():
        card = json.loads((WEIGHTS / file["card"]).read_text())
        for key in ("inputs", "outputs", "before", "after"):
            steps = [{**step, **memory_of(card, step)} for step in model[key]]  # an int8 file needs less memory
            assert card[key] == steps, key
        assert ("noise_level_example" in card) is (name == "window")
    test = model["test"]
    arrays = [*test["inputs"].values(), test["image"]["noisy"], *test["image"]["expected"].values()]
    assert {Path(array["npy"]).parent.as_posix() for array in arrays} == {f"{name}/test"}, "no array of another model"


@pytest.mark.slow
def test_no_estimate_is_written_if_no_model_takes_a_noise_level(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "original", tmp_path / "original")
    (tmp_path / NOISE_LEVEL_FILE).write_bytes(b"stale")
    assert describe(tmp_path) == ["original"]
    assert not (tmp_path / NOISE_LEVEL_FILE).exists()
    assert "noise_estimate" not in json.loads((tmp_path / "manifest.json").read_text())


@pytest.mark.slow
def test_an_unproved_estimate_does_not_replace_a_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(WEIGHTS / "window", tmp_path / "window")
    (tmp_path / NOISE_LEVEL_FILE).write_bytes(b"good")
    monkeypatch.setattr("cxr_export.noise_level.TOLERANCE", 0.0)
    with pytest.raises(ModelError, match=r"noise_level\.onnx: differs from the recipe by \S+; the old file was kept"):
        describe(tmp_path)
    assert (tmp_path / NOISE_LEVEL_FILE).read_bytes() == b"good"
