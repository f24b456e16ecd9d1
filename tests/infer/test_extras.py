"""Missing packages: the error gives a command that installs them, and never the name of an unpublished package."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import JPEG2000Lossless

from cxr_infer.errors import ImageError
from cxr_infer.extras import CPU_TORCH, EXTRAS, install_command
from tests.conftest import REPOSITORY
from tests.infer.formats.dicom.dicom_files import RAMP, computed, encoded, read, stored

PACKAGES = ("cxr_infer", "train/cxr_train", "export/cxr_export", "benchmarks")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
OWN = re.compile(rf"{PROJECT['name']}\[([a-z,]+)\]")  # an extra that includes others


def required(extra: str) -> set[str]:
    """Return the requirements of an extra, including those of the extras that it names."""
    found: dict[str, str] = {}  # by package: of two lower bounds, that of the extra itself
    for requirement in sorted(PROJECT["optional-dependencies"][extra], key=lambda r: OWN.fullmatch(r) is None):
        included = OWN.fullmatch(requirement)
        more = set().union(*map(required, included[1].split(","))) if included else {requirement}
        found |= {name_of(each): each for each in more}
    return set(found.values())


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ]", requirement)[0].lower()


def requirements_in(message: str) -> set[str]:
    """Return the requirements in the install command of a message, as a shell would split them."""
    assert message.count("pip install ") == 1, message
    command = message.split("pip install ")[1].split("\n")[0]
    return set(shlex.split(command))


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (REPOSITORY / package).rglob("*.py")


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_install_commands_have_the_packages_of_the_extra(extra: str) -> None:
    assert set(EXTRAS[extra]) == required(extra)
    assert requirements_in(install_command(extra)) == required(extra)


def test_no_text_suggests_installing_the_project_from_an_index() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True)
    names = tracked.stdout.split("\n")[:-1] or [str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("*.*")]
    texts = [name for name in names if Path(name).suffix in {".py", ".md", ".sh", ".toml", ".yaml", ".yml", ".html"}]
    assert len(texts) > 5
    for name in texts:
        if name != Path(__file__).relative_to(REPOSITORY).as_posix() and name != "cxr_infer/extras.py":
            text = (REPOSITORY / name).read_text()
            assert not re.search(r"(?:pip|pipx|uv) +install [^\n`&;|]*cxr-infer", text), name


def test_install_commands_are_defined_in_one_place() -> None:
    for path in sources():
        strings = (n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant))
        named = any("pip install" in value for value in strings if isinstance(value, str))
        assert not named or path.name == "extras.py", path


def suggested_extras() -> set[str]:
    """Return the extras for which the code suggests an install command."""
    found = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "install_command":
                first = node.args[0]
                assert isinstance(first, ast.Constant), path
                found.add(first.value)
    return found


LAB_METHOD = """
import sys
from cxr_infer.errors import UsageError
from cxr_infer.lab.methods import find_method
try:
    find_method(sys.argv[1])
except UsageError as error:
    sys.exit(f"error: {error}")
"""
LAB_INTERVAL = LAB_METHOD.replace("lab.methods import find_method", "lab.statistics import estimate").replace(
    "find_method(sys.argv[1])", "estimate([1.0, 2.0], seed=0)"
)
LAB: list[tuple[str, set[str], str]] = [
    ("pywt", set(), "wavelet"),
    ("skimage", set(), "wavelet"),
    ("bm3d", {"bm3d"}, "bm3d"),
]

# missing package, its extra, further requirements in the message, a program that needs it, and its arguments
MISSING = [
    ("pydicom", "dicom", set(), "from cxr_infer.__main__ import main; main()", ["file", "x.dcm", "y.dcm"]),
    ("pynetdicom", "node", set(), "from cxr_infer.__main__ import main; main()", ["node", "demo"]),
    ("ray", "ray", set(), "from cxr_infer.__main__ import main; main()", ["dir", ".", "--engine", "ray"]),
    ("fsspec", "cloud", set(), "from cxr_infer.__main__ import main; main()", ["dir", "s3://bucket/in"]),
    ("s3fs", "cloud", set(), "from cxr_infer.__main__ import main; main()", ["dir", "s3://bucket/in"]),
    ("gcsfs", "cloud", {"gcsfs"}, "from cxr_infer.__main__ import main; main()", ["dir", "gs://bucket/in"]),
    ("adlfs", "cloud", {"adlfs"}, "from cxr_infer.__main__ import main; main()", ["dir", "az://container/in"]),
    ("torch", "train", set(), "from cxr_train.cli import main; main()", ["window", "--data", "."]),
    ("safetensors", "train", set(), "from cxr_train.cli import main; main()", ["window", "--data", "."]),
    ("onnx", "export", set(), "from cxr_export.cli import main; main()", ["--all"]),
    ("torch", "export", set(), "from cxr_export.cli import main; main()", ["--all"]),
    ("scipy", "lab", set(), "from cxr_infer.__main__ import main; main()", ["lab"]),
    ("matplotlib", "lab", set(), "from cxr_infer.__main__ import main; main()", ["lab", "full"]),
    ("scipy", "lab", set(), LAB_INTERVAL, []),
    *((package, "lab", more, LAB_METHOD, [method]) for package, more, method in LAB),
]

# importing the package fails and searching for it finds nothing, as if it were not installed
HIDDEN = """
import sys
class Hidden:
    def find_spec(self, name, *_):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == {package!r} else find(name, *more)
sys.meta_path.insert(0, Hidden())
{program}
"""


@pytest.mark.parametrize(("package", "extra", "more", "program", "arguments"), MISSING, ids=lambda value: str(value))
def test_a_missing_package_gives_one_line_with_its_install_command(
    tmp_path: Path, package: str, extra: str, more: set[str], program: str, arguments: list[str]
) -> None:
    (tmp_path / "x.dcm").write_bytes(encoded(computed(stored(RAMP, 8), 8)))
    code = HIDDEN.format(package=package, program=program)
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode in (1, 2), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert requirements_in(done.stderr) == required(extra) | more
    assert (CPU_TORCH in done.stderr) == (package == "torch"), "the default build includes gigabytes of CUDA"


def test_a_missing_decoder_gives_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(computed(stored(RAMP, 8), 8), JPEG2000Lossless)
    monkeypatch.setitem(sys.modules, "openjpeg", None)
    with pytest.raises(ImageError) as refused:
        read(content)
    assert requirements_in(str(refused.value)) == required("dicom")


def test_every_suggested_extra_is_tested_here() -> None:
    assert suggested_extras() == {extra for _, extra, *_ in MISSING} == set(EXTRAS)
