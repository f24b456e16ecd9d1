"""Each unit is computed once, stored whole, read back exactly, and tied to its protocol, method and image."""

from __future__ import annotations

import io
import os
import shutil
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxr_infer.errors import ImageError, ModelError
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.images import phantoms
from cxr_infer.lab.methods import find_methods
from cxr_infer.lab.methods import run as apply
from cxr_infer.lab.noise import expose, generator
from cxr_infer.lab.runner import UNITS, LabProgress, LabStopped, identity, run_studies
from cxr_infer.lab.setting import Setting, UnitStore
from cxr_infer.lab.studies import Study
from tests.infer.lab.protocols import FAKES, PROTOCOL


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting(PROTOCOL, phantoms(PROTOCOL), find_methods(PROTOCOL.methods))


def run(
    setting: Setting,
    out: Path,
    studies: Mapping[str, Study] = FAKES,
    *,
    belongs_to: str = "a",
    stopped: Callable[[], bool] = lambda: False,
    seen: Callable[[LabProgress], None] = lambda progress: None,
    workers: int = 2,
) -> list[Finding]:
    return run_studies(studies, setting, out, belongs_to, stopped=stopped, seen=seen, workers=workers)


def stored(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / UNITS).rglob("*") if path.is_file()}


class Counted:
    """A study that counts the units it computes."""

    def __init__(self, units: int = 5) -> None:
        self.units, self.computed = units, 0

    def __call__(self, setting: Setting, work: UnitStore) -> list[Finding]:
        work.expect(self.units)
        for number in range(self.units):
            arrays = work.unit(f"{number}", lambda n=number: self._compute(n))  # type: ignore[misc]
            assert arrays["value"].dtype == np.float32
            assert np.array_equal(arrays["value"], np.full((2, 3), number, np.float32))
        return []

    def _compute(self, number: int) -> dict[str, np.ndarray]:
        self.computed += 1
        return {"value": np.full((2, 3), number, np.float32)}


def test_a_second_run_computes_nothing_and_finds_the_same(setting: Setting, tmp_path: Path) -> None:
    first = run(setting, tmp_path)
    before = stored(tmp_path)
    assert len(before) == 2 * 2 * 4 + 1
    again = run(setting, tmp_path, workers=1)
    assert repr(again) == repr(first)
    assert stored(tmp_path) == before
    assert [finding.study for finding in first] == ["error", "levels"]


def test_a_stop_takes_effect_between_units_and_the_rest_is_done_later(setting: Setting, tmp_path: Path) -> None:
    study = Counted()
    with pytest.raises(LabStopped):
        run(setting, tmp_path, {"count": study}, stopped=lambda: study.computed >= 3)
    assert study.computed == 3
    assert len(stored(tmp_path)) == 3
    run(setting, tmp_path, {"count": study})
    assert study.computed == 5


def test_a_stop_does_not_wait_for_all_images_of_a_unit(setting: Setting, tmp_path: Path) -> None:
    begun: list[int] = []
    flat = np.full((64, 64), 0.5, np.float32)

    def study(setting: Setting, work: UnitStore) -> list[Finding]:
        def compute() -> dict[str, np.ndarray]:
            for image in range(100):
                begun.append(image)
                apply(setting.methods[0], *expose(flat, "white", 100.0, generator(image)))
            return {"value": np.zeros(1)}

        work.unit("many", compute)
        raise AssertionError("of a whole unit")

    with pytest.raises(LabStopped):
        run(setting, tmp_path, {"many": study}, stopped=lambda: len(begun) > 3)
    assert begun == [0, 1, 2, 3]
    assert stored(tmp_path) == {}


def test_units_belong_to_one_protocol_method_and_image(setting: Setting, tmp_path: Path) -> None:
    study = Counted()
    for belongs_to in ("a", "b", "a"):
        run(setting, tmp_path, {"count": study}, belongs_to=belongs_to)
    assert study.computed == 10
    run(setting, tmp_path, {"another": study})
    assert study.computed == 15
    facts = {"protocol": "1", "methods": [["window", "ab"]]}
    assert identity(facts) == identity(dict(reversed(facts.items())))
    assert identity(facts) != identity(facts | {"methods": [["window", "ac"]]})


@pytest.mark.parametrize("damage", [b"", b"no archive", "half"])
def test_a_damaged_unit_is_computed_again(setting: Setting, tmp_path: Path, damage: bytes | str) -> None:
    study = Counted()
    run(setting, tmp_path, {"count": study})
    whole = stored(tmp_path)
    name = sorted(whole)[0]
    (tmp_path / name).write_bytes(whole[name][: len(whole[name]) // 2] if isinstance(damage, str) else damage)
    run(setting, tmp_path, {"count": study})
    assert study.computed == 6
    assert stored(tmp_path) == whole


def test_a_unit_stored_under_another_name_is_not_used(setting: Setting, tmp_path: Path) -> None:
    study = Counted(2)
    run(setting, tmp_path, {"count": study})
    first, second = (tmp_path / name for name in sorted(stored(tmp_path)))
    second.write_bytes(first.read_bytes())
    run(setting, tmp_path, {"count": study})
    assert study.computed == 3


def test_studies_run_side_by_side(setting: Setting, tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=60)

    def study(setting: Setting, work: UnitStore) -> list[Finding]:
        work.unit("one", lambda: {"met": np.asarray(both.wait())})
        return []

    assert run(setting, tmp_path, {"one": study, "other": study}) == []


def test_an_error_of_one_study_stops_the_others_and_is_raised(setting: Setting, tmp_path: Path) -> None:
    failing = threading.Event()

    def fails(setting: Setting, work: UnitStore) -> list[Finding]:
        failing.set()
        raise ZeroDivisionError("of this study")

    def endless(setting: Setting, work: UnitStore) -> list[Finding]:
        failing.wait(60)
        for number in range(10**9):
            work.unit(f"{number}", lambda: {"value": np.zeros(1)})
        raise AssertionError

    with pytest.raises(ZeroDivisionError, match="of this study"):
        run(setting, tmp_path, {"endless": endless, "fails": fails})


def test_a_program_ended_by_the_same_ctrl_c_is_a_stop_not_a_failure(setting: Setting, tmp_path: Path) -> None:
    asked = threading.Event()

    def interrupted(setting: Setting, work: UnitStore) -> list[Finding]:
        asked.set()
        raise ModelError("method 'prog': failed with exit status -2")

    def alone(setting: Setting, work: UnitStore) -> list[Finding]:
        raise ModelError("method 'prog': failed with exit status 1")

    with pytest.raises(LabStopped):
        run(setting, tmp_path, {"interrupted": interrupted}, stopped=asked.is_set)
    with pytest.raises(ModelError, match="exit status 1"):
        run(setting, tmp_path, {"alone": alone})


def test_progress_rises_to_completion(setting: Setting, tmp_path: Path) -> None:
    progress_seen: list[LabProgress] = []
    run(setting, tmp_path, seen=progress_seen.append)
    shares = [progress.share for progress in progress_seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {(progress.study, progress.done, progress.units) for progress in progress_seen} >= {
        ("error", 16, 16),
        ("levels", 1, 1),
    }


def test_studies_that_break_the_contract_are_detected(setting: Setting, tmp_path: Path) -> None:
    def twice(setting: Setting, work: UnitStore) -> list[Finding]:
        for _ in range(2):
            work.unit("same", lambda: {"value": np.zeros(1)})
        return []

    def reserved(setting: Setting, work: UnitStore) -> list[Finding]:
        work.unit("one", lambda: {"unit": np.zeros(1)})
        return []

    with pytest.raises(ValueError, match="two units 'same'"):
        run(setting, tmp_path, {"twice": twice})
    with pytest.raises(ValueError, match="reserved"):
        run(setting, tmp_path, {"reserved": reserved})
    with pytest.raises(ValueError, match="two findings have the key 'error/all'"):
        run(setting, tmp_path, {"error": FAKES["error"], "again": FAKES["error"]})


def test_other_methods_change_only_their_own_figures(setting: Setting, tmp_path: Path) -> None:
    alone = Setting(replace(PROTOCOL, methods=("noisy",)), setting.images, find_methods(["noisy"]))
    both, one = run(setting, tmp_path / "both"), run(alone, tmp_path / "one")
    assert repr(both[0].series[0]) == repr(one[0].series[0])


@pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")
@pytest.mark.parametrize("planted", ["units", "study", "unit", "FIFO"])
def test_links_and_fifos_planted_in_a_result_are_refused_by_name(
    setting: Setting, tmp_path: Path, planted: str
) -> None:
    out, elsewhere, study = tmp_path / "out", tmp_path / "elsewhere", Counted(1)
    elsewhere.mkdir()
    run(setting, out, {"count": study})
    path = {"units": out / UNITS, "study": out / UNITS / "count"}.get(planted, next((out / UNITS / "count").iterdir()))
    shutil.move(path, tmp_path / "former")
    if planted == "FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "former" if planted == "unit" else elsewhere)
    with pytest.raises(ImageError, match=rf"^{path}: is a (link|FIFO), (which is not followed|not a file); [^\n]+$"):
        run(setting, out, {"count": study})
    assert study.computed == 1
    assert not list(elsewhere.iterdir())


def test_a_compressed_unit_takes_no_memory_and_is_computed_again(setting: Setting, tmp_path: Path) -> None:
    study = Counted(1)
    run(setting, tmp_path, {"count": study})
    (name,) = stored(tmp_path)
    with zipfile.ZipFile(tmp_path / name) as archive:
        label = archive.read("unit.npy")
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("unit.npy", label)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (300_000_000,)})
        archive.writestr("value.npy", header.getvalue() + bytes(300_000_000))
    tracemalloc.start()
    run(setting, tmp_path, {"count": study})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert study.computed == 2
    assert peak < 10_000_000


def test_foreign_arrays_in_a_unit_are_reported_with_their_folder(setting: Setting, tmp_path: Path) -> None:
    def study(setting: Setting, work: UnitStore) -> list[Finding]:
        work.unit("one", lambda: {"value": np.zeros(1)})["value"]
        return []

    run(setting, tmp_path, {"count": study})
    (name,) = stored(tmp_path)
    with np.load(tmp_path / name) as archive:
        label = archive["unit"]
    np.savez(tmp_path / name, unit=label, wrong=np.zeros(3))
    with pytest.raises(ImageError, match=rf"^{tmp_path / UNITS / 'count'}: holds other arrays than .*; remove it$"):
        run(setting, tmp_path, {"count": study})
