"""The house as it is drawn: what may import what, and how large a part of it may be."""

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
# from below upwards; rooms in one line know nothing of each other
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
    ("", "__main__"),  # the front doors
)
MOST_FLOORS = 9
MOST_LINES, MOST_LINES_A_FUNCTION = 350, 60
# what reads bytes or parses them without a limit, and the modules that may, as nobody else writes what they read
UNLIMITED = frozenset({"json.load", "json.loads", "tomllib.load", "tomllib.loads", "np.load", "open"})
UNLIMITED_METHODS = frozenset({"read_bytes", "read_text"})
READS_ITS_OWN = {
    "cxr_infer.files": "the one reader of TOML",
    "cxr_infer.scratch": "rows of a file without a name",
    "cxr_infer.batch.ray_worker": "rows of the driver",
    "cxr_infer.report.json_file": "lines that it just wrote",
    "cxr_infer.report.html.frame": "templates of the package",
    "cxr_infer.lab.page": "templates of the package",
    "cxr_infer.lab.noise": "measurements of the package",
    "cxr_infer.lab.protocol_files": "protocols of the package",
    "cxr_infer.lab.runner": "arrays whose file was looked at before",
    "cxr_infer.model.manifest": "test tensors of the package",
    "cxr_infer.model.hardware": "the kernel",
    "cxr_infer.formats.decoder_child": "the kernel",
    "cxr_infer.formats.decoder_process": "a pipe",
    "cxr_infer.web.server": "files of the package",
}
ALIKE, MOST_ALIKE = 6, 2  # lines in a row that two places share, and pairs of such places


def modules(package: str) -> dict[str, Path]:
    """Every module by its dotted name."""
    root = PACKAGES[package]
    names = {path: [package, *path.relative_to(root).with_suffix("").parts] for path in sorted(root.rglob("*.py"))}
    return {".".join(name[:-1] if name[-1] == "__init__" else name): path for path, name in names.items()}


ALL = {name: path for package in PACKAGES for name, path in modules(package).items()}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of ours that a module imports: at its top, within functions, and for its annotations alike."""
    return frozenset(_imports(module))


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(parsed(ALL[module])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in ALL)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports by a relative name, which is not followed here"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & ALL.keys()
            yield from inner
            if node.module in ALL and len(inner) < len(node.names):
                yield node.module


def room(module: str) -> str:
    """The sub-package of a module, or the module itself where it lies in none; "" for `cxr_infer`."""
    return f"{module}.".split(".")[1]


def rooms_known_to(name: str) -> set[str]:
    """The other rooms that the modules of a room import."""
    inside = [module for module in ALL if module.startswith("cxr_infer") and room(module) == name]
    return {room(imported) for module in inside for imported in imports(module)} - {name}


def test_every_room_has_its_layer() -> None:
    assert {room(module) for module in modules("cxr_infer")} == {name for layer in LAYERS for name in layer}


@pytest.mark.parametrize("layer", range(len(LAYERS)))
def test_imports_lead_downwards(layer: int) -> None:
    below = {name for lower in LAYERS[:layer] for name in lower}
    for name in LAYERS[layer]:
        above = rooms_known_to(name) - below
        found = [
            f"{module} -> {imported}"
            for module in ALL
            if room(module) == name and module.startswith("cxr_infer")
            for imported in imports(module)
            if room(imported) in above
        ]
        assert not found


def test_no_module_imports_itself_by_a_detour() -> None:
    """Raises CycleError, which names the circle."""
    list(TopologicalSorter({module: set(imports(module)) - {module} for module in ALL}).static_order())


def test_the_house_has_few_floors() -> None:
    @cache
    def floor(name: str) -> int:
        return 1 + max(map(floor, rooms_known_to(name)), default=0)

    assert max(floor(name) for layer in LAYERS for name in layer) <= MOST_FLOORS


def test_each_stage_imports_earlier_ones_only() -> None:
    known = {
        package: {imported.split(".")[0] for module in modules(package) for imported in imports(module)}
        for package in PACKAGES
    }
    assert known["cxr_infer"] == {"cxr_infer"}
    assert known["cxr_train"] <= {"cxr_infer", "cxr_train"}


def test_nothing_of_ours_is_imported_by_a_text() -> None:
    """Which the tests above would not see."""
    for module, path in ALL.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                given = node.args[0]
                assert not (isinstance(given, ast.Constant) and str(given.value).startswith("cxr_")), module


def sources() -> list[Path]:
    """What is written by hand, tests too."""
    folders = ("cxr_infer", "train", "export", "benchmarks", "docs", "examples", "tests")
    every = (path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))
    return [path for path in every if not {"node_modules", "build"} & {*path.relative_to(REPOSITORY).parts}]


def test_no_module_and_no_function_is_too_long() -> None:
    too_long = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > MOST_LINES:
            too_long.append(f"{path}: {len(text.splitlines())} lines")
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_LINES_A_FUNCTION:
                    too_long.append(f"{path}: {node.name} has {lines} lines")
    assert not too_long


def statements(path: Path) -> list[str]:
    """The lines of a module that do something: no blank ones, comments or imports."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "import ", "from "))]


def test_little_is_said_twice() -> None:
    """Pairs of places that share ALIKE lines or more; longer shared parts count once."""
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for module, path in ALL.items():
        lines = statements(path)
        for start in range(len(lines) - ALIKE + 1):
            places[tuple(lines[start : start + ALIKE])].append((module, start))
    pairs = {
        (first, second, there - here)
        for found in places.values()
        for (first, here), (second, there) in combinations(found, 2)
    }
    assert len(pairs) <= MOST_ALIKE, sorted(pairs)


def test_files_of_others_are_read_within_limits() -> None:
    """By `files`, `folder` and `untrusted_json`, which wait for no FIFO and take no more memory than they must."""
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
    assert found == READS_ITS_OWN.keys()
