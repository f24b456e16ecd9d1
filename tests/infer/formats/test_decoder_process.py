"""Decoders in a process of their own: a failure there costs one image, and they end with their parent process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import JPEG2000Lossless

from cxr_infer.errors import ImageError
from cxr_infer.formats import decoder_process
from cxr_infer.formats.decoders import OPENCV, OPENJPEG, DecoderLostError, DecodingError, ImageDecoder
from cxr_infer.formats.readers import read_radiograph
from cxr_infer.settings import ReadOptions
from tests.conftest import REPOSITORY
from tests.infer.formats.dicom.dicom_files import digital, encoded, stored
from tests.infer.formats.hostile import CRASH, GROW, HANG, SLEEP, VANISH, jpeg_2000_with_request, png_with_request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere decoders run in the process itself")

RAMP = np.arange(40 * 50, dtype=np.uint8).reshape(40, 50)
PNG = cv2.imencode(".png", RAMP)[1].tobytes()
PIXELS = stored(RAMP / 255, 12)
DICOM = encoded(digital(PIXELS, 12), JPEG2000Lossless)
LONG = 1000.0  # seconds
Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _no_children() -> Iterator[None]:
    yield
    decoder_process.end_all()


@pytest.fixture
def command(tmp_path: Path, identity_onnx: Path) -> Iterator[Command]:
    """Start `cxr-infer` with obedient decoders and a model that returns its input."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, seconds: float = 1.0) -> subprocess.Popen[str]:
        code = (
            f"from tests.infer.formats.hostile import install; install({seconds}); "
            "from cxr_infer.__main__ import main; main()"
        )
        running = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments), "--model", str(identity_onnx)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), os.environ.get("PYTHONPATH", "")))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(running)
        return running

    yield start
    for running in started:
        running.kill()
        running.communicate()


EARLIER: set[int] = set()  # child processes left over from other tests


@pytest.fixture(autouse=True)
def _ignore_earlier_children() -> None:
    EARLIER.clear()
    EARLIER.update(children_of(os.getpid()))


def children_of(process: int) -> list[int]:
    """Running children that this test started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == process and state != "Z":
            found.append(int(stat.parent.name))
    return [child for child in found if child not in EARLIER]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def becomes_true(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.slow
def test_a_decoder_failure_is_one_error_line_for_its_file(tmp_path: Path, command: Command) -> None:
    (tmp_path / "x").mkdir()
    for name, hidden_request in {"crash": CRASH, "grow": GROW, "hang": HANG, "vanish": VANISH}.items():
        (tmp_path / "x" / f"{name}.png").write_bytes(png_with_request(hidden_request, PNG))
        (tmp_path / "x" / f"{name}.dcm").write_bytes(jpeg_2000_with_request(hidden_request, DICOM))
    for name in ("0.png", "z.png"):  # before any DICOM code is loaded, and after all other files
        (tmp_path / "x" / name).write_bytes(PNG)
    for name in ("1.dcm", "z.dcm"):
        (tmp_path / "x" / name).write_bytes(DICOM)
    running = command("dir", "x")
    _, errors = running.communicate(timeout=240)
    assert running.returncode == 1, errors
    failed = dict(
        line.removeprefix("failed: x/").split(": ", 1) for line in errors.splitlines() if line.startswith("failed: ")
    )
    assert len(failed) == 8
    assert all(word in failed["crash.png"] for word in ("OpenCV", "SIGSEGV"))
    assert all(word in failed["crash.dcm"] for word in ("OpenJPEG", "SIGSEGV"))
    for name in ("hang.png", "hang.dcm"):
        assert "took more than 2 s" in failed[name]
    for name in ("grow.png", "grow.dcm"):
        assert "needs more than 134 MB of memory" in failed[name]
    for name in ("vanish.png", "vanish.dcm"):
        assert "ended without a result" in failed[name]
    assert "Traceback" not in errors
    for name in ("0.png", "z.png"):
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "x-denoised" / name), -1), RAMP)
    for name in ("1.dcm", "z.dcm"):
        np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "x-denoised" / name).pixel_array, PIXELS)


def test_a_decoder_crash_on_a_single_file_is_one_error_line(tmp_path: Path, command: Command) -> None:
    (tmp_path / "x.png").write_bytes(png_with_request(CRASH, PNG))
    running = command("file", "x.png", "y.png")
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 1
    assert errors.count("\n") == 1
    assert errors.startswith("error: x.png: ")
    assert not (tmp_path / "y.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("hidden_request", [HANG, SLEEP])
@pytest.mark.parametrize("signals", [(signal.SIGKILL,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,) * 2])
def test_a_busy_decoder_ends_with_its_parent_process(
    hidden_request: bytes, signals: tuple[signal.Signals, ...], tmp_path: Path, command: Command
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "x.png").write_bytes(png_with_request(hidden_request, PNG))
    running = command("dir", "x", seconds=LONG)
    assert becomes_true(lambda: children_of(running.pid))
    (child,) = children_of(running.pid)
    time.sleep(0.3)  # until it is deep in the decoder
    for number in signals:
        running.send_signal(number)
        time.sleep(0.3)
    running.communicate(timeout=30)
    assert running.returncode in (-signal.SIGKILL, 130, 143)
    assert becomes_true(lambda: not is_running(child), 10)


def test_decoder_processes_end_with_the_run(tmp_path: Path, command: Command) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "x.png").write_bytes(PNG)
    running = command("dir", "x")
    seen: set[int] = set()
    while running.poll() is None:
        seen.update(children_of(running.pid))
    running.communicate()
    assert running.returncode == 0
    assert seen
    assert not any(map(is_running, seen))


def test_decoder_processes_ignore_terminal_signals() -> None:
    """Terminals and some schedulers signal all processes of a command; the current image must still be finished."""
    child = _child()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(child, number)
    np.testing.assert_array_equal(decoder_process.decoded(OPENCV, PNG, RAMP.size), RAMP)
    assert _child() == child


def _child() -> int:
    decoder_process.decoded(OPENCV, PNG, RAMP.size)
    (child,) = children_of(os.getpid())
    return child


def test_a_child_decodes_bit_exactly_and_reports_decoding_errors() -> None:
    for pixels in (RAMP, RAMP.astype(np.uint16) << 8, np.dstack([RAMP] * 3), np.dstack([RAMP] * 4)):
        content = cv2.imencode(".png", pixels)[1].tobytes()
        result = decoder_process.decoded(OPENCV, content, RAMP.size)
        np.testing.assert_array_equal(result, pixels)
        assert result.dtype == pixels.dtype
    with pytest.raises(DecodingError, match="OpenCV"):
        decoder_process.decoded(OPENCV, b"nonsense", 1)


def test_one_child_serves_many_images_and_a_dead_one_is_replaced() -> None:
    child = _child()
    assert _child() == child
    os.kill(child, signal.SIGKILL)
    assert becomes_true(lambda: not is_running(child))
    assert _child() != child


def test_each_thread_has_at_most_one_decoder_process() -> None:
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: decoder_process.decoded(OPENCV, PNG, RAMP.size), range(40)))
    for result in results:
        np.testing.assert_array_equal(result, RAMP)
    assert 1 <= len(children_of(os.getpid())) <= 4


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_process_starts_its_own_decoder() -> None:
    """As with the fork start method of multiprocessing."""
    child = _child()
    pid = os.fork()
    if not pid:
        try:
            result = decoder_process.decoded(OPENCV, PNG, RAMP.size)
            (own,) = children_of(os.getpid())
            os._exit(0 if np.array_equal(result, RAMP) and own != child else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert _child() == child


def test_implausible_answers_of_a_decoder_process_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compromised decoder may return any pixels, but not more than requested and of no other type."""
    with pytest.raises(DecoderLostError):
        decoder_process.decoded(OPENCV, PNG, RAMP.size // 8)

    def strange(content: bytes) -> NDArray[np.complex64]:
        return np.zeros((40, 50), np.complex64)

    decoder = ImageDecoder("strange", (), strange)
    monkeypatch.setattr(decoder_process, "DECODERS", (decoder,))
    monkeypatch.setattr("cxr_infer.formats.decoder_child.DECODERS", (decoder,))
    with pytest.raises(DecoderLostError):
        decoder_process.decoded(decoder, PNG, RAMP.size)


def test_decoder_limits_grow_with_the_image_and_spare_the_parent() -> None:
    def limits(content: bytes) -> NDArray[np.uint8]:
        import resource

        soft_limits = [resource.getrlimit(what)[0] for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU)]
        files = len(list(Path("/proc/self/fd").iterdir()))
        return np.array([*soft_limits, resource.getrlimit(resource.RLIMIT_CORE)[0], files]).view(np.uint8)

    import resource

    before = [resource.getrlimit(what) for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE)]
    decoder = ImageDecoder("limits", (), limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_process, "DECODERS", (decoder,))
        patch.setattr("cxr_infer.formats.decoder_child.DECODERS", (decoder,))
        small, large = (decoder_process.decoded(decoder, b"x", size).view(int) for size in (10_000, 50_000_000))
    memory, seconds, core, files = (large - small).tolist()
    assert 1.4e9 < memory < 1.8e9
    assert 95 <= seconds <= 105
    assert core == files == 0
    assert small[2] == 0
    assert small[3] <= 7  # three to the null device, two connections, the listing itself
    after = [resource.getrlimit(what) for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE)]
    assert after == before


def test_decoding_falls_back_to_this_process_if_fork_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    np.testing.assert_array_equal(decoder_process.decoded(OPENCV, PNG, RAMP.size), RAMP)
    assert not children_of(os.getpid())


def test_images_of_a_run_are_decoded_in_a_separate_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("x.png", PNG), ("x.dcm", DICOM)):
        asked = []
        monkeypatch.setattr(decoder_process, "decoded", lambda decoder, *_, asked=asked: asked.append(decoder))
        with pytest.raises((ImageError, AttributeError)):
            read_radiograph(Path(name), content, ReadOptions(), Path(name))
        assert asked == [OPENCV if name == "x.png" else OPENJPEG]
