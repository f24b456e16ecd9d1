"""`-v`, `--log` and unexpected errors through real processes: one line, a traceback in the log, no patient data."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer import __version__
from cxr_infer.cli.log_options import FIRST_LINE, logging_to
from cxr_infer.errors import UsageError
from cxr_infer.faults import LONGEST, fault_line, traceback_of
from cxr_infer.formats.readers import write_image
from tests.conftest import Run, tree
from tests.infer.formats.dicom.dicom_files import RAMP, computed, encoded, stored
from tests.warm import WarmCommand

BUG_REPORT_HINT = (
    "this is a bug in cxr-infer; please report it to its issue tracker, with the log written by --log FILE"
)
MAINS = {"cxr-infer": "cxr_infer.__main__", "cxr-train": "cxr_train.cli", "cxr-export": "cxr_export.cli"}


@pytest.fixture
def xrays(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / "x" / name, noisy_bytes[:64, :64])
    return tmp_path / "x"


BREAK = "import sys; sys.path.insert(0, '.'); import broken"


def broken(
    tmp_path: Path, changes: str, *arguments: object, command: str = "cxr-infer", warm: WarmCommand | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with an injected fault. changes: Python code that runs first, stored as `broken.py`.

    warm: starts the process; only possible if no other module imports the broken object by name.
    """
    (tmp_path / "broken.py").write_text(changes)
    if warm is not None:
        return warm.run([*map(str, arguments)], tmp_path, warm.environment, 120, first=BREAK)
    code = f"{BREAK}; from {MAINS[command]} import main; main()"
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)


def test_verbose_logs_progress_to_stderr(run: Run, xrays: Path, tmp_path: Path) -> None:
    quiet = run("cxr-infer", "dir", xrays, "--out", "quiet", "-q")
    once = run("cxr-infer", "dir", xrays, "--out", "once", "-q", "-v")
    twice = run("cxr-infer", "dir", xrays, "--out", "twice", "-q", "-vv")
    assert (quiet.stderr, {done.returncode for done in (quiet, once, twice)}) == ("", {0})
    assert once.stderr.startswith(f"INFO cxr_infer: cxr-infer {__version__}, Python ")
    assert re.search(r"3 images in .*x, results in .*once", once.stderr)
    assert re.search(r"model window \((int8|fp32)\), SHA-256 [0-9a-f]{64}, Settings\(strength=1.0", once.stderr)
    assert "a.png" not in once.stderr
    for message in ("a.png: reading", "a.png: denoising, 64 x 64 px of 8 bits", "a.png: writing", "c.png: done"):
        assert f"DEBUG cxr_infer.batch.pipeline: {message}" in twice.stderr
    assert tree(tmp_path / "quiet") == tree(tmp_path / "once") == tree(tmp_path / "twice")


def test_the_log_is_complete_even_with_quiet(run: Run, xrays: Path, tmp_path: Path) -> None:
    (xrays / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    done = run("cxr-infer", "dir", xrays, "--log", "logs/run.log", "--quiet")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    lines = (tmp_path / "logs" / "run.log").read_text().splitlines()
    assert lines[0] == f"{FIRST_LINE}{__version__}"
    assert all(re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ |    ", line) for line in lines[1:])
    text = "\n".join(lines)
    assert "DEBUG MainThread cxr_infer.batch.pipeline: c.png: done" in text
    assert "WARNING MainThread cxr_infer.batch.pipeline: bad.png: failed: " in text
    assert "Traceback (most recent call last):" in text, "the library's error on that file"
    again = run("cxr-infer", "dir", "nowhere", "--log", "logs/run.log")
    assert again.returncode == 2
    assert "ERROR MainThread cxr_infer: nowhere: no such directory" in (tmp_path / "logs" / "run.log").read_text()
    assert "bad.png" not in (tmp_path / "logs" / "run.log").read_text(), "the log was replaced"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("notes.log", "mine", "notes.log: exists and is not a log of cxr-infer; give --log another name"),
        ("notes.txt", None, "notes.txt: give --log a name that ends in .log"),
        ("x/run.log", None, "x/run.log: is inside the input directory; give --log a path outside it"),
        ("x/a.png/run.log", None, "x/a.png/run.log: is inside the input directory"),
        ("b.log/run.log", None, "b.log/run.log: cannot be written: "),
        ("", None, "give --log a name that ends in .log"),
    ],
)
def test_a_log_replaces_only_an_earlier_log(
    run: Run, xrays: Path, tmp_path: Path, name: str, content: str | None, problem: str
) -> None:
    (tmp_path / "b.log").write_text("mine")
    if content is not None:
        (tmp_path / name).write_text(content)
    before = tree(tmp_path)
    done = run("cxr-infer", "dir", "x", "--log", name)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert problem in done.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_a_log_must_be_a_plain_file(run: Run, xrays: Path, tmp_path: Path, kind: str) -> None:
    original = tmp_path / "other.log"
    original.write_text(f"{FIRST_LINE}an earlier one")
    make = {"link": lambda p: p.symlink_to(original), "fifo": os.mkfifo, "directory": Path.mkdir}
    make[kind](tmp_path / "run.log")
    done = run("cxr-infer", "dir", "x", "--log", "run.log")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert original.read_text() == f"{FIRST_LINE}an earlier one"


def test_file_names_cannot_forge_log_lines(run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    write_image(tmp_path / "x" / "ok\n2026 ERROR forged\x1b[31m.png", noisy_bytes[:64, :64])
    assert run("cxr-infer", "dir", "x", "--log", "run.log").returncode == 0
    text = (tmp_path / "run.log").read_text()
    assert "\x1b" not in text
    assert not re.search("^2026 ERROR", text, re.MULTILINE)
    assert r"ok\n2026 ERROR forged\x1b[31m.png: reading" in text


@pytest.mark.parametrize(
    ("name", "exception", "message"),
    [
        ("estimate_mottle", "ZeroDivisionError('nobody divides so')", "ZeroDivisionError: nobody divides so"),
        ("read_radiograph", "KeyError('colour')", "KeyError: 'colour'"),
        ("read_radiograph", "AssertionError", "AssertionError"),
        ("compare_with_reference", "RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    ],
)
def test_unexpected_errors_give_one_line_and_a_logged_traceback(
    warm: WarmCommand | None, tmp_path: Path, xrays: Path, name: str, exception: str, message: str
) -> None:
    """A fault in one file, in each stage, does not stop the others."""
    changes = (
        f"import cxr_infer.batch.pipeline as batch\nreal, count = batch.{name}, 0\n"
        f"def fails(*a, **b):\n    global count; count += 1\n    if count == 1:\n        raise {exception}\n"
        f"    return real(*a, **b)\nbatch.{name} = fails\n"
    )
    done = broken(tmp_path, changes, "dir", "x", "--json", "r.jsonl", "--log", "run.log", "--quiet", warm=warm)
    assert done.returncode == 1
    where = r"\(broken\.py:6, called from cxr_infer/batch/pipeline\.py:\d+\)"
    line = rf"x/a\.png: {re.escape(message)} {where}; {re.escape(BUG_REPORT_HINT)}"
    assert re.fullmatch(f"failed: {line}\n", done.stderr), done.stderr
    *records, _ = map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())
    failed, *others = sorted(records, key=lambda record: record["name"])
    assert re.fullmatch(line, failed["message"])
    assert failed["traceback"].startswith("Traceback (most recent call last):\n")
    assert failed["traceback"].rstrip().endswith(message)
    assert [(record["status"], record["traceback"]) for record in others] == [("done", None)] * 2
    log = (tmp_path / "run.log").read_text()
    assert f"    {message}" in log
    assert f'broken.py", line 6, in fails\n        raise {exception}' in log


@pytest.mark.parametrize(
    ("command", "arguments", "broken_name"),
    [
        ("cxr-infer", ["dir", "x"], "cxr_infer.batch.jobs.make_plan"),
        ("cxr-infer", ["file", "x/a.png", "out.png"], "cxr_infer.batch.pipeline.estimate_mottle"),
        ("cxr-infer", ["models"], "cxr_infer.model.installed.installed_models"),
        ("cxr-infer", ["compare", "x/a.png", "x/b.png"], "cxr_infer.cli.compare.compare_files"),
        ("cxr-infer", ["sample", "phantoms"], "cxr_infer.batch.sample.write_samples"),
        ("cxr-infer", ["web", "--no-browser"], "cxr_infer.web.server.needed_runtime"),
        pytest.param("cxr-train", ["window", "--data", "x"], "cxr_train.data.find_xrays", marks=pytest.mark.slow),
        pytest.param("cxr-export", ["new"], "cxr_export.export.export_model", marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_failing_command_reports_the_location_of_the_fault(
    tmp_path: Path, xrays: Path, command: str, arguments: list[str], broken_name: str
) -> None:
    module = broken_name.rpartition(".")[0]
    changes = f"import {module}\ndef fails(*a, **b):\n    raise LookupError('a fault')\n{broken_name} = fails\n"
    done = broken(tmp_path, changes, *arguments, "--log", "run.log", command=command)
    assert done.returncode == 1, done.stderr
    where = r"\(broken\.py:3, called from cxr_(infer|train|export)/[a-z_/]+\.py:\d+\)"
    assert re.fullmatch(rf"error: LookupError: a fault {where}; {re.escape(BUG_REPORT_HINT)}\n", done.stderr), (
        done.stderr
    )
    log_text = (tmp_path / "run.log").read_text()
    assert "    LookupError: a fault" in log_text
    assert log_text.count("Traceback") == 1


def test_an_unexpected_error_does_not_stop_the_other_files(tmp_path: Path, xrays: Path) -> None:
    changes = (
        "import cxr_infer.batch.pipeline as pipeline\nreal = pipeline.denoise_content\n"
        "def fails(job, *more):\n    if job.name == 'b.png':\n        raise LookupError('a fault')\n"
        "    return real(job, *more)\npipeline.denoise_content = fails\n"
    )
    done = broken(tmp_path, changes, "file", "x/a.png", "x/b.png", "x/c.png", "-o", "out", "--log", "run.log")
    assert done.returncode == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    assert "x/b.png: LookupError: a fault (broken.py:5, called from cxr_infer/batch/pipeline.py:" in done.stderr
    log = (tmp_path / "run.log").read_text()
    assert "    LookupError: a fault" in log
    assert all(f"{name}: done" in log for name in ("a.png", "c.png"))


@pytest.mark.parametrize("package", ["typer", "numpy"])
@pytest.mark.parametrize("arguments", [("models",), ("dir", "x")])
def test_a_damaged_installation_is_reported_in_one_line(
    tmp_path: Path, xrays: Path, package: str, arguments: tuple[str, ...]
) -> None:
    """Whether it is noticed before the command line is parsed or within a command."""
    done = broken(tmp_path, f"import sys; sys.modules[{package!r}] = None\n", *arguments)
    assert done.returncode == 1
    place = r"\(\S+\.py:\d+(, called from cxr_infer/\S+\.py:\d+)?\)"
    line = rf"error: ModuleNotFoundError: .*{package}.* {place}; a package .* reinstall cxr-infer\n"
    assert re.fullmatch(line, done.stderr), done.stderr


PATIENT = {"PatientName": "DOE^JANE", "PatientID": "QX-194731", "PatientBirthDate": "19470131"}


@pytest.mark.parametrize(
    "exception",
    [
        "ValueError(f'cannot read {self.dataset.PatientName}, {self.dataset.PatientID!r}')",
        pytest.param("KeyError(str(self.dataset.PatientName))", marks=pytest.mark.slow),
        pytest.param("TypeError(repr(self.dataset))", marks=pytest.mark.slow),
    ],
)
def test_no_patient_data_is_logged(warm: WarmCommand | None, tmp_path: Path, exception: str) -> None:
    """Neither in a successful run nor by an exception that quotes the file."""
    (tmp_path / "x").mkdir()
    good = encoded(computed(stored(RAMP, 8), 8, **PATIENT))
    (tmp_path / "x" / "good.dcm").write_bytes(good)
    (tmp_path / "x" / "cut.dcm").write_bytes(good[:-200])
    (tmp_path / "x" / "odd.dcm").write_bytes(encoded(computed(stored(RAMP, 8), 8, **PATIENT, WindowWidth="-1")))
    fault = (
        "from cxr_infer.formats.dicom.reader import DicomRadiograph\n"
        f"def fails(self):\n    raise {exception}\nDicomRadiograph.unit = fails\n"
    )
    for changes in ("", fault):
        options = ("--overwrite", "--log", "run.log", "--json", "r.jsonl", "-vv")
        done = broken(tmp_path, changes, "dir", "x", *options, warm=warm)
        everything = done.stdout + done.stderr + (tmp_path / "run.log").read_text() + (tmp_path / "r.jsonl").read_text()
        assert "good.dcm" in everything
        assert (exception.split("(")[0] in done.stderr) == bool(changes)
        for value in ("DOE", "JANE", "194731", "19470131"):
            assert value not in everything


def test_dicom_error_messages_keep_only_plain_words() -> None:
    def fails(text: str) -> Exception:
        error = ValueError(text)
        try:
            exec("raise error", {"__name__": "pydicom.valuerep", "error": error})
        except ValueError:
            return error
        raise AssertionError

    for text, left in {
        "invalid literal for int() with base 10: 'DOE^JANE'": "invalid literal for [...] with base 10: [...]",
        'value "it\'s 1" of JANE is too long': "value [...] of [...] is too long",
        "Иванов": "[...]",
        "": "",
    }.items():
        assert fault_line(fails(text)).partition(" (")[0] == "ValueError" + f": {left}" * bool(left)
    wrapped = RuntimeError("of JANE")
    wrapped.__cause__ = fails("JANE")
    assert "JANE" not in fault_line(wrapped) + traceback_of(wrapped)
    assert "JANE" in fault_line(RuntimeError("of JANE")), "no DICOM module was involved"


def test_a_long_exception_chain_is_printed_in_order() -> None:
    error = RuntimeError("x" * 2 * LONGEST)
    error.__cause__ = KeyError("first")
    text = traceback_of(error)
    assert text.index("KeyError: 'first'") < text.index("which led to:") < text.index("RuntimeError: xxx")
    assert len(fault_line(error)) < LONGEST + 300
    looped = RuntimeError("a")
    looped.__context__ = looped
    assert traceback_of(looped).count("RuntimeError: a") == 1


def test_a_full_disk_ends_only_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    log = logging.getLogger("cxr_infer.anything")
    with logging_to(0, tmp_path / "run.log"):
        [file] = [each for each in logging.getLogger("cxr_infer").handlers if hasattr(each, "_file")]
        file._file.stream.close()  # type: ignore[attr-defined]
        file._file.stream = Full()  # type: ignore[attr-defined]
        for _ in range(3):
            log.info("more")
    output = capsys.readouterr().err
    assert output == f"error: {tmp_path / 'run.log'}: No space left on device; continuing without this log\n"


def test_a_log_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"), logging_to(0, tmp_path / "file" / "run.log"):
        raise AssertionError


def test_programs_using_the_library_control_its_log_output(tmp_path: Path, xrays: Path) -> None:
    """Nothing is printed unless the program configures logging, not even for a failed file."""
    (xrays / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    code = (
        "import logging, sys\n"
        "from pathlib import Path\n"
        "from cxr_infer import load_model\n"
        "from cxr_infer.batch import engine, jobs\n"
        "from cxr_infer.storage.opening import open_storage\n"
        "if len(sys.argv) > 1: logging.basicConfig(level='WARNING', format='%(name)s %(message)s')\n"
        "planned = jobs.make_plan(open_storage('x'), open_storage('out'))\n"
        "print(len(list(engine.denoise_files(planned, load_model('window'), overwrite=True))))\n"
    )
    for arguments, output in (([], ""), (["configure"], "cxr_infer.batch.pipeline bad.png: failed: x/bad.png: ")):
        words = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == "4\n", done.stderr
        assert done.stderr.startswith(output)
        assert done.stderr.count("\n") == len(arguments)
