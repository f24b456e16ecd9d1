"""Untrusted JSON, wherever it is read: cards, the metadata of ONNX files, records, the manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cxr_infer import ModelError, load_model
from cxr_infer.errors import UsageError
from cxr_infer.formats.readers import write_image
from cxr_infer.model.card import METADATA_KEY, ModelCard, read_card_file
from cxr_infer.model.manifest import read_manifest
from cxr_infer.storage.ledger import LONGEST_LINE, Entry, parse_line, read_lines
from cxr_infer.storage.record_files import LEDGER
from cxr_infer.untrusted_json import MOST_BYTES, MOST_DEPTH, parse_json, parse_object
from tests.conftest import REPOSITORY, Run
from tests.infer.model.test_session import node, onnx, saved

DEEP = "[" * 200_000 + "]" * 200_000
HOSTILE = {
    "lists": DEEP,
    "lists without an end": "[" * 200_000,
    "objects": '{"a":' * 200_000 + "1" + "}" * 200_000,
    "in an object": '{"training": ' + DEEP + "}",
    "a little too deep": "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1),
    "deep in one of many": json.dumps([[[1]] * 50, json.loads("[" * MOST_DEPTH + "]" * MOST_DEPTH)]),
    "a large integer": '{"size": 1' + "0" * 30 + "}",
    "a huge integer": '{"size": ' + "9" * 100_000 + "}",
    "a large number": '{"size": 1e999}',
    "not a number": '{"size": NaN}',
    "infinity": '{"size": -Infinity}',
    "too long": '"' + "a" * MOST_BYTES + '"',
    "no text": "\ud800",
    "nothing": "",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_raises_value_error_in_one_line(text: str) -> None:
    for content in (text, text.encode("utf-8", "surrogatepass")):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            parse_json(content)


def test_json_within_the_limits_is_read() -> None:
    deep = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert parse_json(deep) == json.loads(deep)
    wide = json.dumps({"a": [[1], [2.5]] * 1000, "brackets": "[{" * 1000, "large": 2**62, "small": -1e-300})
    assert parse_object(wide) == json.loads(wide)
    with pytest.raises(ValueError, match="not an object"):
        parse_object("[]")


def with_metadata(path: Path, text: str) -> Path:
    saved(path, node("Identity", ["noisy"]))
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", sorted(set(HOSTILE) - {"no text"}))
def test_hostile_metadata_is_reported_in_one_line_with_its_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"^\S+x\.onnx: damaged card in its metadata; export it again$"):
        load_model(with_metadata(tmp_path / "x.onnx", HOSTILE[name]))


def test_hostile_metadata_ends_the_command_with_one_line(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png", np.zeros((20, 20), np.uint8))
    done = run("cxr-infer", "dir", "in", "--model", with_metadata(tmp_path / "x.onnx", DEEP))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "damaged card" in done.stderr


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_cards_and_manifests_are_reported_with_their_file(tmp_path: Path, text: str) -> None:
    for name in ("card.json", "manifest.json"):
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError, match=r"^\S+card\.json: damaged model card; .*$"):
        read_card_file(tmp_path / "card.json")
    with pytest.raises(ModelError, match=r"^\S+manifest\.json: damaged manifest; .*$"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {name: value}
            for name in ("size", "multiple", "window", "memory_per_pixel")
            for value in (0, -1, 2**40, 1.5)
        ),
        *({name: value} for name in ("overlap", "parameters", "opset") for value in (-1, 2**50, True, "1", None)),
        *({"pixel_range": value} for value in ([], [0], [0, 1, 2], [1, 0], [0, 0], ["0", "1"], [[0], [1]])),
        *({name: value} for name in ("name", "precision", "licence") for value in (None, 5, [], "x" * 20_000)),
        *({name: []} for name in ("training", "data", "metrics")),
        {"told_noise_level": 1},
        {"metrics": {"score": "high"}},
        {"metrics": {"score": None}},
        {"format": 0},
    ],
    ids=str,
)
def test_a_card_value_out_of_range_is_refused_by_name(wrong: dict[str, object]) -> None:
    good = {"name": "x", "purpose": "a test"}
    ModelCard.from_mapping(good, "x.onnx")
    with pytest.raises(ModelError, match=rf"^x\.onnx: its card has an invalid {next(iter(wrong))}; export it"):
        ModelCard.from_mapping(good | wrong, "x.onnx")


def test_hostile_record_lines_are_ignored_and_the_others_read(tmp_path: Path) -> None:
    entry = Entry(b"\1" * 16, b"\2" * 16, b"\3" * 16)
    hostile = [text.encode("utf-8", "surrogatepass") for text in HOSTILE.values()]
    hostile += [b"[]", b'"text"', b"1", b'{"name": 1}', b'{"name": "a", "source": 5, "made_by": [], "result": {}}']
    assert [parse_line(line) for line in hostile] == [None] * len(hostile)
    path = tmp_path / "records"
    acceptable = [line for line in hostile if len(line) < LONGEST_LINE]
    path.write_bytes(b"\n".join([*acceptable, entry.line("a.png")]))
    with path.open("rb") as file:
        assert list(read_lines(file, path)) == [("a.png", entry)]
    for line in set(hostile) - set(acceptable):
        path.write_bytes(line + b"\n")
        with path.open("rb") as file, pytest.raises(UsageError, match=r"records: not a record file of cxr-infer"):
            list(read_lines(file, path))


def test_a_run_continues_with_a_hostile_record_file(run: Run, tmp_path: Path, identity_onnx: Path) -> None:
    shutil.copy(identity_onnx, tmp_path / "x.onnx")
    write_image(tmp_path / "in" / "a.png", np.full((20, 20), 7, np.uint8))
    command = ("cxr-infer", "dir", "in", "--model", "x.onnx", "--quiet")
    assert run(*command).returncode == 0
    records = next((tmp_path / "in-denoised").rglob(LEDGER))
    records.write_bytes(DEEP[150_000:250_000].encode() + b"\n" + records.read_bytes())
    again = run(*command)
    assert (again.returncode, again.stderr) == (0, "")


def test_the_shipped_cards_are_within_the_limits() -> None:
    for path in (REPOSITORY / "weights").glob("*/card*.json"):
        ModelCard.from_mapping(read_card_file(path), str(path))
    assert len(read_manifest(REPOSITORY / "weights")) == 4
