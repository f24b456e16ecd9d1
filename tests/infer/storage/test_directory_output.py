from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from cxr_infer import load_model
from cxr_infer.batch.engine import denoise_files
from cxr_infer.batch.jobs import make_plan
from cxr_infer.errors import ImageError, OutputLostError
from cxr_infer.formats.radiograph import METHOD
from cxr_infer.formats.readers import write_image
from cxr_infer.report.results import DONE, SKIPPED
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.directory_output import OutputDirectory
from cxr_infer.storage.ledger import digest
from cxr_infer.storage.protocols import State
from cxr_infer.storage.record_files import LEDGER
from tests.infer.formats.dicom.dicom_files import encoded, secondary

MADE_BY, SOURCE = digest(b"model and settings"), digest(b"original")


def test_a_result_is_finished_only_for_the_same_model_and_settings(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "a.png"
    with OutputDirectory(tmp_path, MADE_BY) as output:
        assert output.state("sub/a.png", target) is State.ABSENT
        output.write("sub/a.png", target, SOURCE, b"result")
        assert output.state("sub/a.png", target) is State.FINISHED
        assert output.made_of("sub/a.png", SOURCE)
        assert not output.made_of("sub/a.png", digest(b"changed original"))
    with OutputDirectory(tmp_path, digest(b"other settings")) as output:
        assert output.state("sub/a.png", target) is State.OUTDATED
        target.write_bytes(b"edited")
        assert output.state("sub/a.png", target) is State.FOREIGN
        assert output.state("b.png", tmp_path / "b.png") is State.ABSENT


def test_results_of_another_method_are_recomputed(
    tmp_path: Path, identity_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update of cxr-infer that reads or scales images differently."""
    write_image(tmp_path / "in" / "a.png", np.full((20, 20), 7, np.uint8))
    (tmp_path / "in" / "b.dcm").write_bytes(encoded(secondary(np.eye(20, dtype=np.uint8) * 200, 8)))
    model = load_model(identity_onnx)

    def statuses() -> list[str]:
        plan = make_plan(Directory(tmp_path / "in"), Directory(tmp_path / "out"))
        return [result.status for result in denoise_files(plan, model)]

    assert [statuses(), statuses()] == [[DONE, DONE], [SKIPPED, SKIPPED]]
    first = dcmread(tmp_path / "out" / "b.dcm").SOPInstanceUID
    for module in ("batch.batch_run", "formats.dicom.derived"):
        monkeypatch.setattr(f"cxr_infer.{module}.METHOD", METHOD + 1)
    assert [statuses(), statuses()] == [[DONE, DONE], [SKIPPED, SKIPPED]]
    assert dcmread(tmp_path / "out" / "b.dcm").SOPInstanceUID != first


def test_a_fifo_is_not_a_result_and_is_not_opened(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    with OutputDirectory(tmp_path, MADE_BY) as output:
        output.write("a.png", target, SOURCE, b"result")
        target.unlink()
        os.mkfifo(target)
        assert output.state("a.png", target) is State.FOREIGN


def test_a_record_without_its_result_is_ignored(tmp_path: Path) -> None:
    """A kill can occur between writing the record and the result."""
    target = tmp_path / "a.png"
    with OutputDirectory(tmp_path, MADE_BY) as output:
        output.write("a.png", target, SOURCE, b"first")
        ledger = (tmp_path / LEDGER).read_bytes()
    target.write_bytes(b"something else")
    (tmp_path / LEDGER).write_bytes(ledger)
    with OutputDirectory(tmp_path, MADE_BY) as output:
        assert output.state("a.png", target) is State.FOREIGN


def test_a_record_of_an_unwritten_result_does_not_hide_the_older_one(tmp_path: Path) -> None:
    """After a kill between the record of a new result and its renaming, the older result is still recognised."""
    target = tmp_path / "a.png"
    with OutputDirectory(tmp_path, MADE_BY) as output:
        output.write("a.png", target, SOURCE, b"older")
    with OutputDirectory(tmp_path, digest(b"other settings")) as output:
        output.write("a.png", target, SOURCE, b"newer")
        lines = (tmp_path / LEDGER).read_bytes()
    target.write_bytes(b"older")
    (tmp_path / LEDGER).write_bytes(lines)
    with OutputDirectory(tmp_path, MADE_BY) as output:
        assert output.state("a.png", target) is State.FINISHED
    assert (tmp_path / LEDGER).read_bytes().count(b"\n") == 1


def test_a_removed_output_directory_is_not_recreated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a disk is unmounted between the check and the write."""
    out = tmp_path / "out"
    with OutputDirectory(out, MADE_BY) as output:
        output.write("a.png", out / "a.png", SOURCE, b"result")
        output.write("in/b.png", out / "in" / "b.png", SOURCE, b"result")
        out.rename(tmp_path / "elsewhere")
        monkeypatch.setattr(output, "_lost", lambda: False)
        for name in ("c.png", "in/d.png"):
            with pytest.raises(ImageError, match="No such file"):
                output.write(name, out / name, SOURCE, b"result")
        monkeypatch.undo()
        with pytest.raises(OutputLostError):
            output.write("e.png", out / "e.png", SOURCE, b"result")
    assert not out.exists()


def test_temporary_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    leftovers = [tmp_path / ".cxr-00.part", tmp_path / "sub" / ".cxr-11.part"]
    leftovers[1].parent.mkdir()
    for path in leftovers:
        path.write_bytes(b"half")
    (tmp_path / "mine.part").write_bytes(b"not ours")
    with OutputDirectory(tmp_path, MADE_BY) as output:
        output.write("sub/a.png", tmp_path / "sub" / "a.png", SOURCE, b"result")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {LEDGER, "mine.part", "sub/a.png"}


def test_names_equal_on_a_case_folding_disk_do_not_replace_each_other(tmp_path: Path) -> None:
    with OutputDirectory(tmp_path, MADE_BY) as output:
        output.folds_names = False
        output.claim("a.png", tmp_path / "a.png")
        output.claim("A.PNG", tmp_path / "A.PNG")
        output.folds_names = True
        output.claim("b.png", tmp_path / "b.png")
        with pytest.raises(ImageError, match=r"B\.PNG: its result would replace that of b\.png"):
            output.claim("B.PNG", tmp_path / "B.PNG")
        output.claim("caf\u00e9.png", tmp_path / "caf\u00e9.png")
        with pytest.raises(ImageError, match="rename one of them"):
            output.claim("cafe\u0301.png", tmp_path / "cafe\u0301.png")
