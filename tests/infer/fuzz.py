"""Mutate files of every kind and read them: `python -m tests.infer.fuzz SECONDS SEED`. A separate process, so that a
crash in a decoder written in C is noticed."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from cxr_infer.errors import CxrError, ImageError
from cxr_infer.formats.readers import read_radiograph
from cxr_infer.settings import ReadOptions
from tests.infer.formats.dicom.dicom_files import PROVENANCE, in_every_syntax
from tests.infer.torture import all_cases

MEMORY = 4_000_000_000  # bytes of address space, enough for every file here
SLOWEST = 5.0  # s of CPU time that one small file may take
EXAMPLES = 300  # a round
READING = ReadOptions(max_pixels=4_000_000)

PICTURES = sorted((name, case.make) for name, case in all_cases().items() if isinstance(case.make, bytes) and case.make)
SEEDS = [*PICTURES, *((f"{name}.dcm", content) for name, content in in_every_syntax())]

MUTATION = st.one_of(
    st.tuples(st.just("set"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("set"), st.floats(0, 0.05), st.binary(min_size=1, max_size=4)),  # headers come first
    st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.just(b"")),
    st.tuples(st.just("remove"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
)


def mutated(content: bytes, mutations: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, value in mutations:
        at = int(place * len(content))
        if kind == "cut":
            content = content[:at]
        else:
            rest = at if kind == "insert" else at + len(value)
            content = content[:at] + (b"" if kind == "remove" else value) + content[rest:]
    return content


def read(file: tuple[str, bytes], mutations: list[tuple[str, float, bytes]]) -> None:
    """Check that a mutated file gives a usable radiograph or an error of this project."""
    content = mutated(file[1], mutations)
    path = Path(file[0])
    started = time.process_time()
    try:
        radiograph = read_radiograph(path, content, READING, path.with_name("x.tif") if path.suffix == ".jpg" else path)
    except CxrError:
        pass
    else:
        unit = radiograph.unit()
        assert unit.ndim == 2
        assert unit.min() >= 0
        assert unit.max() <= 1
        same = radiograph.restored(unit)
        assert (same.pixels == radiograph.pixels).all()
        with contextlib.suppress(ImageError):  # such as 16-bit pixels in a file named .bmp
            assert same.encode(PROVENANCE)
    assert time.process_time() - started < SLOWEST


def new_property() -> Callable[[], None]:
    """Return a new property, because hypothesis allows each only one seed."""

    @hypothesis.given(st.sampled_from(SEEDS), st.lists(MUTATION, min_size=1, max_size=5))
    def holds(file: tuple[str, bytes], mutations: list[tuple[str, float, bytes]]) -> None:
        read(file, mutations)

    return holds


def main() -> None:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    checks = list(hypothesis.HealthCheck)
    options = hypothesis.settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=checks)
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        hypothesis.seed(seed + rounds)(options(new_property()))()
        rounds += 1
    print(rounds * EXAMPLES)


if __name__ == "__main__":
    main()
