from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import peers, speed
from benchmarks.plots import plot_time_against_size
from cxr_infer.errors import CxrError
from cxr_infer.imaging.pixels import to_bytes


@pytest.fixture(scope="module")
def image(clean: NDArray[np.float32]) -> NDArray[np.uint8]:
    return to_bytes(clean[:96, :96])


@pytest.mark.slow
def test_methods_are_timed_side_by_side_on_the_same_files(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    report, said = speed.SpeedReport(1, "a machine"), list[str]()
    names = [peers.NLM, peers.BARE_INT8]
    speed.side_by_side({"a.png": image, "b.png": image[:, :80]}, tmp_path, names, 2, report, said.append)
    assert {
        *names,
        *speed.OUR_COMMANDS,
        speed.DECODING,
        speed.ENCODING,
        speed.EVERYTHING_IN_TURN,
    } == report.seconds.keys()
    assert all(seconds > 0 for seconds in report.seconds.values())
    parts = (speed.DECODING, peers.BARE_INT8, speed.ENCODING)
    assert report.seconds[speed.EVERYTHING_IN_TURN] == sum(report.seconds[part] for part in parts)
    ours, fp32 = speed.OUR_COMMANDS
    assert report.psnr[ours] > report.psnr[peers.NLM] + 3, "non-local means at its defaults hardly removes such mottle"
    assert report.psnr[ours] == pytest.approx(report.psnr[fp32], abs=0.3)
    assert report.psnr[peers.BARE_INT8] == pytest.approx(report.psnr[ours], abs=0.05)
    assert all(20 < memory < 2000 for memory in report.peak.values())
    assert len(said) == 2


@pytest.mark.slow
def test_the_report_has_tables_and_a_plot(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    report = speed.SpeedReport(2, "a machine", dict.fromkeys(speed.OUR_COMMANDS, 0.2) | {peers.NLM: 0.5})
    report.psnr[peers.NLM] = 21.5
    report.by_size = speed.growth(image, tmp_path / "sizes", [(32, 32, 2), (64, 64, 1)], 1, 1)
    assert [point.of for point in report.by_size] == [32, 64]
    assert all(p.seconds_a_file > 0 and p.seconds_a_megapixel > 0 and p.peak > 20 for p in report.by_size)
    started = time.perf_counter()
    report.start_up = speed.start_up(image, tmp_path, 1, 1)
    assert min(report.start_up.values()) > 0
    assert max(report.start_up.values()) < time.perf_counter() - started
    text = speed.to_markdown(report)
    assert f"| {peers.NLM} | 2.00 | 2.50 | 21.50 |" in text
    assert "| **cxr-infer dir** | 5.00 | 1.00 |" in text
    drawing = plot_time_against_size([32, 64], [0.3, 0.2], {peers.NLM: 0.5})
    assert drawing == plot_time_against_size([32, 64], [0.3, 0.2], {peers.NLM: 0.5})
    assert peers.NLM.encode() in drawing


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layers"), [(peers.FFDNET, 15), (peers.DNCNN, 17)])
def test_networks_of_published_sizes_run(name: str, layers: int, image: NDArray[np.uint8]) -> None:
    import onnx

    exported = {peers.FFDNET: peers._ffdnet_sized, peers.DNCNN: peers._dncnn}[name]()
    assert sum(node.op_type == "Conv" for node in onnx.load_from_string(exported).graph.node) == layers
    seconds, result = peers._network(exported, 1)(image)
    assert seconds > 0
    assert result is None


def test_a_failed_run_is_reported(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    with pytest.raises(CxrError, match="cxr-infer failed with exit status 1; run it manually"):
        speed.run_cli(tmp_path / "in", tmp_path / "out", 1)
