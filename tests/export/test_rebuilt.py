"""`cxr-export --all` rebuilds the shipped files from the shipped checkpoints."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxr_infer.model.card import FP32, INT8, MODEL_NAMES, TOLERANCES
from tests.conftest import REPOSITORY, Run, tree

WEIGHTS = REPOSITORY / "weights"
SOURCES = ("checkpoint.safetensors", "README.md")  # of a model; its other files are made from these
# contain results of the network, which CPUs round differently: equal within the tolerance of their precision
RESULTS = {".npy", ".bin", ".png"}
HASH_OF_A_RESULT = re.compile(rb"(source: test/\S+\.npy\n\s+sha256:) \w{64}")


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rebuilt")
    for name in MODEL_NAMES:
        (folder / name).mkdir()
        for source in SOURCES:
            shutil.copy(WEIGHTS / name / source, folder / name / source)
    return folder


@pytest.mark.slow
def test_all_shipped_files_are_rebuilt_byte_for_byte(run: Run, rebuilt: Path) -> None:
    done = run("cxr-export", "--all", "--weights", rebuilt)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of torch (") == len(MODEL_NAMES)
    shipped, found = tree(WEIGHTS), tree(rebuilt)
    for name in ("lab.schema.json", "report.schema.json"):  # schemas of results, not made by cxr-export
        del shipped[name]
    assert shipped.keys() == found.keys()
    for name, content in shipped.items():
        if Path(name).suffix not in RESULTS:
            without_hashes = (HASH_OF_A_RESULT.sub(rb"\1", each) for each in (content, found[name]))
            assert len(set(without_hashes)) == 1, f"{name}: run cxr-export --all and commit what changed"
    manifest = json.loads(shipped["manifest.json"])
    for name in MODEL_NAMES:
        assert f"{name}/model.onnx" in shipped
        for precision, place in results(manifest["models"][name]):
            ours, theirs = (np.load(folder / place) for folder in (rebuilt, WEIGHTS))
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCES[precision], err_msg=place)


def results(model: dict[str, Any]) -> list[tuple[str, str]]:
    """Precision and place of every array of a model's test, inputs included."""
    test = model["test"]
    found = [(FP32, entry["npy"]) for entry in (*test["inputs"].values(), test["image"]["noisy"])]
    for precision in set(test["expected"]) & {FP32, INT8}:
        entries = (*test["expected"][precision].values(), test["image"]["expected"][precision])
        found += [(precision, entry["npy"]) for entry in entries]
    return found
