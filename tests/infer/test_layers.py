"""The architecture: permitted imports, and limits of length and duplication."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from itertools import combinations
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGES = {
    "cxr_infer": REPOSITORY / "cxr_infer",
    "cxr_train": REPOSITORY / "train" / "cxr_train",
    "cxr_export": REPOSITORY / "export" / "cxr_export",
}
# from the lowest upwards; sub-packages on one line do not import each other
LAYERS = (
    ("version", "address_space", "errors", "extras", "faults", "patient_server", "untrusted_json"),
    ("settings", "folder", "scratch"),
    ("files",),
    ("imaging",),
    ("formats", "model"),
    ("storage",),
    ("report",),
    ("batch",),
    ("api",),
    ("web", "node", "lab"),
    ("cli",),
    ("", "__main__"),  # the entry points
)
MAX_DEPTH = 9
MAX_LINES, MAX_FUNCTION_LINES = 350, 60
# calls that read or parse without a limit, and the modules that may use them, as their input is trusted
UNLIMITED = frozenset({"json.load", "json.loads", "tomllib.load", "tomllib.loads", "np.load", "open"})
UNLIMITED_METHODS = frozenset({"read_bytes", "read_text"})
TRUSTED_INPUT = {
    "cxr_infer.files": "the one reader of TOML",
    "cxr_infer.scratch": "rows of a file without a name",
    "cxr_infer.batch.ray_worker": "rows of the driver",
    "cxr_infer.report.json_file": "lines that it just wrote",
    "cxr_infer.report.html.frame": "templates of the package",
    "cxr_infer.lab.page": "templates of the package",
    "cxr_infer.lab.noise": "measurements of the package",
    "cxr_infer.lab.protocol_files": "protocols of the package",
    "cxr_infer.lab.runner": "arrays whose file was checked before",
    "cxr_infer.model.manifest": "test tensors of the package",
    "cxr_infer.model.hardware": "the kernel",
    "cxr_infer.formats.decoder_child": "the kernel",
    "cxr_infer.formats.decoder_process": "a pipe",
    "cxr_infer.web.server": "files of the package",
}
SHARED_LINES, MAX_SHARED = 6, 2  # consecutive lines that two places share, and pairs of such places


def modules(package: str) -> dict[str, Path]:
    """Return the path of every module by its dotted name."""
    root = PACKAGES[package]
    names = {path: [package, *path.relative_to(root).with_suffix("").parts] for path in sorted(root.rglob("*.py"))}
    return {".".join(name[:-1] if name[-1] == "__init__" else name): path for path, name in names.items()}


ALL = {name: path for package in PACKAGES for name, path in modules(package).items()}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Return the project's modules that a module imports: at its top, within functions or for annotations."""
    return frozenset(_imports(module))


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(parsed(ALL[module])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in ALL)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} relative imports are not followed here"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & ALL.keys()
            yield from inner
            if node.module in ALL and len(inner) < len(node.names):
                yield node.module


def subpackage(module: str) -> str:
    """Return the sub-package of a module, or the module itself if it is in none; "" for `cxr_infer`."""
    return f"{module}.".split(".")[1]


def imported_subpackages(name: str) -> set[str]:
    """Return the other sub-packages that the modules of a sub-package import."""
    inside = [module for module in ALL if module.startswith("cxr_infer") and subpackage(module) == name]
    return {subpackage(imported) for module in inside for imported in imports(module)} - {name}


def test_every_subpackage_has_a_layer() -> None:
    assert {subpackage(module) for module in modules("cxr_infer")} == {name for layer in LAYERS for name in layer}


@pytest.mark.parametrize("layer", range(len(LAYERS)))
def test_imports_lead_to_lower_layers_only(layer: int) -> None:
    below = {name for lower in LAYERS[:layer] for name in lower}
    for name in LAYERS[layer]:
        above = imported_subpackages(name) - below
        found = [
            f"{module} -> {imported}"
            for module in ALL
            if subpackage(module) == name and module.startswith("cxr_infer")
            for imported in imports(module)
            if subpackage(imported) in above
        ]
        assert not found


def test_there_are_no_import_cycles() -> None:
    """The CycleError names the cycle."""
    list(TopologicalSorter({module: set(imports(module)) - {module} for module in ALL}).static_order())


def test_the_depth_of_imports_is_limited() -> None:
    @cache
    def depth(name: str) -> int:
        return 1 + max(map(depth, imported_subpackages(name)), default=0)

    assert max(depth(name) for layer in LAYERS for name in layer) <= MAX_DEPTH


def test_each_stage_imports_only_earlier_stages() -> None:
    known = {
        package: {imported.split(".")[0] for module in modules(package) for imported in imports(module)}
        for package in PACKAGES
    }
    assert known["cxr_infer"] == {"cxr_infer"}
    assert known["cxr_train"] <= {"cxr_infer", "cxr_train"}


def test_no_project_module_is_imported_by_a_string() -> None:
    """The tests above would not see such imports."""
    for module, path in ALL.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                given = node.args[0]
                assert not (isinstance(given, ast.Constant) and str(given.value).startswith("cxr_")), module


def sources() -> list[Path]:
    """Return every hand-written module, tests included."""
    folders = ("cxr_infer", "train", "export", "benchmarks", "docs", "examples", "tests")
    every = (path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))
    return [path for path in every if not {"node_modules", "build"} & {*path.relative_to(REPOSITORY).parts}]


def test_modules_and_functions_are_not_too_long() -> None:
    too_long = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MAX_LINES:
            too_long.append(f"{path}: {len(text.splitlines())} lines")
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    too_long.append(f"{path}: {node.name} has {lines} lines")
    assert not too_long


def statements(path: Path) -> list[str]:
    """Return the lines of a module without blank lines, comments and imports."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "import ", "from "))]


def test_little_code_is_duplicated() -> None:
    """Count pairs of places that share SHARED_LINES or more; longer shared parts count once."""
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for module, path in ALL.items():
        lines = statements(path)
        for start in range(len(lines) - SHARED_LINES + 1):
            places[tuple(lines[start : start + SHARED_LINES])].append((module, start))
    pairs = {
        (first, second, there - here)
        for found in places.values()
        for (first, here), (second, there) in combinations(found, 2)
    }
    assert len(pairs) <= MAX_SHARED, sorted(pairs)


def test_untrusted_files_are_read_within_limits() -> None:
    """They are read through `files`, `folder` and `untrusted_json`, which do not wait for FIFOs and limit memory."""
    found = {
        module
        for module in modules("cxr_infer")
        for node in ast.walk(parsed(ALL[module]))
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) in UNLIMITED
            or (isinstance(node.func, ast.Attribute) and node.func.attr in UNLIMITED_METHODS)
        )
    }
    assert found == TRUSTED_INPUT.keys()
