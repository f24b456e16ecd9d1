from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
import yaml

from cxr_export import processing
from cxr_export.cases import Arrays
from cxr_export.describe import describe
from cxr_export.manifest_schema import manifest_schema
from cxr_infer.errors import ModelError
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.imaging.tiling import BLIND_SHARE
from cxr_infer.model.card import MODEL_NAMES, ModelCard
from cxr_infer.model.denoiser import load_model
from cxr_infer.settings import Settings
from tests.conftest import REPOSITORY, Run

WEIGHTS = REPOSITORY / "weights"
MANIFEST = json.loads((WEIGHTS / "manifest.json").read_text())
FILES = [
    pytest.param(model, file, id=f"{name}-{precision}")
    for name, model in MANIFEST["models"].items()
    for precision, file in model["files"].items()
]
ARRAYS = [
    pytest.param(array, id=array["npy"])
    for model in MANIFEST["models"].values()
    for array in (
        *model["test"]["inputs"].values(),
        *(array for outputs in model["test"]["expected"].values() for array in outputs.values()),
        model["test"]["image"]["noisy"],
        *model["test"]["image"]["expected"].values(),
    )
]


def test_the_shipped_manifest_matches_its_schema_and_lists_all_models() -> None:
    schema = json.loads((WEIGHTS / "manifest.schema.json").read_text())
    assert schema == json.loads(json.dumps(manifest_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(MANIFEST, schema)
    assert tuple(MANIFEST["models"]) == MODEL_NAMES


@pytest.mark.parametrize(
    "path", [("models", "window", "files", "fp32", "sha256"), ("models", "window", "before"), ("models", "new", "test")]
)
def test_the_schema_rejects_missing_and_misspelt_keys(path: tuple[str, ...]) -> None:
    for change in ("missing", "misspelt"):
        broken = json.loads(json.dumps(MANIFEST))
        part: dict[str, Any] = broken
        for key in path[:-1]:
            part = part[key]
        value = part.pop(path[-1])
        if change == "misspelt":
            part[path[-1] + "s"] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, manifest_schema())


@pytest.mark.parametrize(("model", "file"), FILES)
def test_manifest_card_and_metadata_agree(model: dict[str, Any], file: dict[str, Any]) -> None:
    card_file = json.loads((WEIGHTS / file["card"]).read_text())
    graph = onnx.load(WEIGHTS / file["file"])
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    card, inside = (
        ModelCard.from_mapping(content, "card") for content in (card_file, json.loads(metadata["cxr_infer"]))
    )
    assert card == inside
    assert {key: card_file[key] for key in ("bytes", "sha256")} == {key: file[key] for key in ("bytes", "sha256")}
    assert (card.opset, card.precision) == (file["opset"], file["precision"])
    for key in ("purpose", "parameters", "training", "data", "metrics", "citation", "licence", "limits"):
        assert getattr(card, key) == model[key], key
    assert metadata["limits"] == model["limits"]
    for ours, theirs in ((model["inputs"], graph.graph.input), (model["outputs"], graph.graph.output)):
        assert [one["name"] for one in ours] == [value.name for value in theirs]
        for one, value in zip(ours, theirs, strict=True):
            sizes = [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]
            assert [axis["size"] for axis in one["axes"]] == sizes
            assert all(card.multiple == axis["multiple_of"] for axis in one["axes"][2:] if axis["size"] is None)


def test_the_steps_contain_the_numbers_used_by_this_package() -> None:
    model = MANIFEST["models"]["window"]
    steps = {step["step"]: step for step in model["before"] + model["after"]}
    card = load_model("window", precision="fp32").card
    assert steps["scale"]["white"] == {"uint8": 255, "uint16": 65535}
    assert (steps["window"]["side"], steps["window"]["overlap"]) == (card.window, card.overlap)
    assert steps["blend"]["blind_share"] == BLIND_SHARE
    assert steps["noise_level"]["recipe"] == card.noise_level_recipe
    assert [step["step"] for step in processing.before(ModelCard("new", "", size=512))][-1] == "resize"
    assert steps.keys() == {
        *("gray", "scale", "invert", "noise_level", "pad", "window", "blend", "crop", "clip", "strength", "store")
    }


@pytest.mark.parametrize("array", ARRAYS)
def test_every_array_is_also_stored_raw(array: dict[str, Any]) -> None:
    values = np.load(WEIGHTS / array["npy"])
    assert values.dtype == np.float32
    assert list(values.shape) == array["shape"]
    assert values.min() >= 0
    assert values.max() <= 1
    raw = (WEIGHTS / array["raw"]).read_bytes()
    assert raw[array["raw_offset"] :] == values.astype("<f4").tobytes()


def test_the_test_image_of_window_needs_several_windows_and_an_estimate() -> None:
    case = MANIFEST["models"]["window"]["test"]["image"]
    image = np.load(WEIGHTS / case["noisy"]["npy"])
    grid = load_model("window").grid(image.shape, Settings(window=case["window"], overlap=case["overlap"]))
    assert min(len(grid.rows.starts), len(grid.columns.starts)) > 2
    assert image.shape[0] % 16
    assert image.shape[1] % 16
    assert case["noise_level"] == pytest.approx(estimate_mottle(image).level)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_bioimageio_files_name_existing_files(name: str) -> None:
    """.ci/run shows that the collection's own tool accepts them."""
    description = yaml.safe_load((WEIGHTS / name / "rdf.yaml").read_text())
    model = MANIFEST["models"][name]
    assert description["format_version"].startswith("0.5.")
    assert description["weights"]["onnx"]["sha256"] == model["files"]["fp32"]["sha256"]
    assert [one["id"] for one in description["inputs"]] == [one["name"] for one in model["inputs"]]
    tensors = description["inputs"] + description["outputs"]
    files = [description["documentation"], *description["covers"], *(one["test_tensor"] for one in tensors)]
    assert all((WEIGHTS / name / file["source"]).is_file() for file in files)


@pytest.mark.slow
def test_describing_changes_no_model_and_removes_stale_files(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "window", tmp_path / "window")
    before = {path: path.read_bytes() for path in (tmp_path / "window").glob("*.onnx")}
    for name in ("model.int8.onnx", "card.int8.json"):
        (tmp_path / "window" / name).unlink()
    assert describe(tmp_path) == ["window"]
    found = json.loads((tmp_path / "manifest.json").read_text())
    jsonschema.validate(found, manifest_schema())
    assert list(found["models"]["window"]["files"]) == ["fp32"]
    assert not list((tmp_path / "window" / "test").glob("*int8*"))
    assert all(path.read_bytes() == content for path, content in before.items() if path.exists())
    assert describe(tmp_path / "window") == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_non_finite_results_are_not_written_as_test_tensors(tmp_path: Path, wrong: float) -> None:
    with pytest.raises(ModelError, match="denoised: the model returns non-finite values; train it again"):
        Arrays(tmp_path).write("window/test/denoised", np.array([0, wrong], np.float32))
    assert not list(tmp_path.rglob("*.npy"))


def test_a_file_that_does_not_match_its_card_is_refused(tmp_path: Path) -> None:
    shutil.copytree(WEIGHTS / "window", tmp_path / "window")
    (tmp_path / "window" / "model.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match="does not match the SHA-256"):
        describe(tmp_path)


@pytest.mark.slow
def test_describe_takes_no_model_and_needs_an_exported_one(run: Run, tmp_path: Path) -> None:
    assert run("cxr-export", "--describe", "window").returncode == 2
    empty = run("cxr-export", "--describe", "--weights", tmp_path)
    assert empty.returncode == 2
    assert "no exported model in it" in empty.stderr
