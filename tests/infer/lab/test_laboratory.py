"""The user's own images, frames and methods are measured and recorded in the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import CxrError, ImageError, UsageError
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.pixels import from_unit
from cxr_infer.lab import laboratory
from cxr_infer.lab.conditions import Condition, exposures
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.images import MOST_IMAGES, clean_images, described, frames_by_name, phantoms, repeated_frames
from cxr_infer.lab.laboratory import LabRequest, asked_for, measure, methods_of, with_frames
from cxr_infer.lab.methods import NamedMethod
from cxr_infer.lab.noise import KnownNoise, expose
from cxr_infer.lab.reading import read_off
from cxr_infer.lab.result import LabResult, UnderTest
from cxr_infer.lab.setting import Setting, UnitStore
from cxr_infer.settings import ReadOptions
from tests.infer.formats.dicom.dicom_files import computed, encoded, stored
from tests.infer.lab.protocols import FAKES, PROTOCOL, TOML, error_study, write_toml

DOSE = 200.0


def write(path: Path, image: NDArray[np.float32]) -> None:
    write_image(path, from_unit(np.clip(image, 0, 1), np.dtype(np.uint16)))


@pytest.fixture
def frames_folder(tmp_path: Path, clean: NDArray[np.float32]) -> Path:
    """A folder of two exposures of one phantom."""
    for number in range(2):
        write(tmp_path / "frames" / f"{number}.png", poisson_mottle(clean, DOSE, np.random.default_rng(number)))
    return tmp_path / "frames"


def test_phantoms_depend_on_the_seed_only() -> None:
    first, second = (phantoms(replace(PROTOCOL, phantoms=count)) for count in (1, 2))
    assert list(second) == ["phantom 7", "phantom 8"]
    assert np.array_equal(first["phantom 7"], second["phantom 7"])
    assert not np.array_equal(second["phantom 7"], second["phantom 8"])


def test_clean_images_are_cut_to_the_middle_and_not_resized(tmp_path: Path, clean: NDArray[np.float32]) -> None:
    write(tmp_path / "b.png", clean)
    write(tmp_path / "a.png", clean[:80, :70])
    (tmp_path / ".hidden").write_text("nothing")
    found, spacing = clean_images(tmp_path, 96, ReadOptions())
    assert spacing is None
    assert {name: image.shape for name, image in found.items()} == {"a.png": (80, 70), "b.png": (96, 96)}
    assert np.abs(found["b.png"] - clean[80:176, 80:176]).max() < 1e-4


@pytest.mark.parametrize(("spacings", "expected"), [((0.2, 0.2), 0.2), ((0.2, 0.1), None), ((0.2, None), None)])
def test_the_spacing_is_that_on_which_all_files_agree(
    tmp_path: Path, clean: NDArray[np.float32], spacings: tuple[float | None, ...], expected: float | None
) -> None:
    for number, spacing in enumerate(spacings):
        pitch = None if spacing is None else [spacing, spacing]
        (tmp_path / f"{number}.dcm").write_bytes(encoded(computed(stored(clean, 12), 12, ImagerPixelSpacing=pitch)))
    found, spacing = clean_images(tmp_path, 96, ReadOptions())
    assert len(found) == 2
    assert spacing == expected


def test_empty_small_and_too_many_clean_images_are_refused(tmp_path: Path, clean: NDArray[np.float32]) -> None:
    with pytest.raises(UsageError, match="no files; give --images"):
        clean_images(tmp_path, 96, ReadOptions())
    write(tmp_path / "small.png", clean[:40, :80])
    with pytest.raises(CxrError, match=r"small\.png: less than 64 px a side"):
        clean_images(tmp_path, 96, ReadOptions())
    for number in range(MOST_IMAGES):
        (tmp_path / f"{number}.png").write_bytes(b"")
    with pytest.raises(UsageError, match=f"101 files; copy at most {MOST_IMAGES}"):
        clean_images(tmp_path, 96, ReadOptions())


def test_frames_define_a_noise_of_their_own(
    frames_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strength: dict[str, float] = {}

    def study(setting: Setting, work: UnitStore) -> list[Finding]:
        flat = np.full((96, 96), 0.5, np.float32)
        for noise in setting.protocol.noises:
            noisy, _ = expose(flat, setting.noise(noise), DOSE, np.random.default_rng(1))
            strength[noise] = float(noisy.std())
        assert setting.frames is not None
        return error_study(setting, work)

    monkeypatch.setattr(laboratory, "STUDIES", {"error": study, "repeated": error_study})
    frames = repeated_frames([frames_folder], ReadOptions())
    assert frames is not None
    asked = with_frames(LabRequest(replace(PROTOCOL, studies=("error",)), "tiny"), frames)
    result = measure(asked, methods_of(asked), tmp_path / "out")
    assert list(strength) == ["white", "own"]
    assert strength["own"] == pytest.approx(strength["white"], rel=0.1)
    assert [one.name for one in result.frames] == ["0.png", "1.png"], "without the folder"
    assert result.changed == ("frames: 2, whose noise is called 'own'",)
    assert result.protocol.noises == ("white", "own")


def test_frames_of_equal_name_in_two_directories_are_numbered(frames_folder: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name / "x.png" for name in ("first", "second")]
    for path, number in zip(paths, (0, 1), strict=True):
        path.parent.mkdir()
        path.write_bytes((frames_folder / f"{number}.png").read_bytes())
    frames = repeated_frames(paths, ReadOptions())
    descriptions = described(frames_by_name(frames))
    assert [one.name for one in descriptions] == ["x.png (1)", "x.png (2)"]
    assert descriptions[0].sha256 != descriptions[1].sha256


def test_a_single_frame_is_refused(frames_folder: Path) -> None:
    assert repeated_frames([], ReadOptions()) is None
    with pytest.raises(UsageError, match="at least two frames"):
        repeated_frames([frames_folder / "0.png"], ReadOptions())


def test_repeated_exposures_are_studied_only_if_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def repeated(setting: Setting, work: UnitStore) -> list[Finding]:
        raise AssertionError("without frames")

    monkeypatch.setattr(laboratory, "STUDIES", {**FAKES, "repeated": repeated})
    asked = LabRequest(replace(PROTOCOL, studies=("error", "repeated", "levels")), "tiny")
    assert len(measure(asked, methods_of(asked), tmp_path).findings) == 2
    only = replace(asked, only=("levels",))
    assert [each.study for each in measure(only, methods_of(only), tmp_path).findings] == ["levels"]


def test_a_further_method_computes_its_own_units_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def study(setting: Setting, work: UnitStore) -> list[Finding]:
        for method in setting.methods:
            work.unit(setting.key_of(method), lambda m=method: seen.append(m.name) or {"value": np.zeros(1)})
        return []

    monkeypatch.setattr(laboratory, "STUDIES", {"error": study})
    asked = LabRequest(replace(PROTOCOL, studies=("error",)), "tiny")
    fewer = replace(asked.protocol, fewer_draws={"gaussian": 2})
    for protocol in (
        asked.protocol,
        replace(asked.protocol, methods=("nlm", "gaussian", "noisy")),
        replace(fewer, methods=("nlm", "gaussian")),
    ):
        measure(replace(asked, protocol=protocol), methods_of(replace(asked, protocol=protocol)), tmp_path)
    assert seen == ["noisy", "gaussian", "nlm", "gaussian"]


@pytest.mark.parametrize("there", [True, False])
def test_a_method_that_is_not_installed_is_left_out_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(laboratory, "STUDIES", FAKES)
    monkeypatch.setattr(laboratory, "is_installed", lambda name: there)
    path = write_toml(tmp_path, TOML.replace('"gaussian"]', ']\nif_installed = ["gaussian"]'))
    asked = asked_for(str(path))
    assert asked.protocol.methods == (("noisy", "gaussian") if there else ("noisy",))
    assert asked.changed == ()
    result = LabResult(asked.protocol, (UnderTest("noisy"),), (), ())
    assert result.left_out == (() if there else ("gaussian",))
    sentence = "gaussian was left out: it is not installed."
    assert (sentence in read_off(result).sentences) is not there
    assert asked_for(str(path), ["nlm"]).protocol.if_installed == ()


def test_a_method_with_fewer_draws_denoises_no_image_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two studies see the same draws; damaged results are computed again."""
    made: list[float] = []

    def slow(noisy: NDArray[np.float32], told: KnownNoise) -> NDArray[np.float32]:
        made.append(float(noisy.mean()))
        return noisy * np.float32(0.5)

    def study(setting: Setting, work: UnitStore) -> list[Finding]:
        (method,) = setting.methods
        name, clean = next(iter(setting.images.items()))
        for noisy, told in exposures(setting, Condition("white", 50.0), name, clean, setting.draws_of(method)):
            np.testing.assert_array_equal(method(noisy, told), noisy * np.float32(0.5))
        return []

    monkeypatch.setattr(laboratory, "STUDIES", {"error": study, "levels": study})
    asked = LabRequest(replace(PROTOCOL, methods=("slow",), fewer_draws={"slow": 3}), "tiny")
    measure(asked, [NamedMethod("slow", slow)], tmp_path)
    assert len(made) == len(set(made)) == 3
    kept = sorted((tmp_path / "units" / "denoised").iterdir())
    assert len(kept) == 3
    kept[0].write_bytes(kept[0].read_bytes()[:200])
    measure(asked, [NamedMethod("slow", slow)], tmp_path)
    assert len(made) == 4
    measure(asked, [NamedMethod("slow", slow, "of another model")], tmp_path)
    assert len(made) == 7
    kept[0].rename(tmp_path / "elsewhere")
    kept[0].symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match="link"):
        measure(asked, [NamedMethod("slow", slow)], tmp_path)


def test_errors_of_a_study_name_the_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def study(setting: Setting, work: UnitStore) -> list[Finding]:
        raise UsageError("4 draws are too few; use more")

    monkeypatch.setattr(laboratory, "STUDIES", {"error": study})
    asked = LabRequest(replace(PROTOCOL, studies=("error",)), "own.toml")
    with pytest.raises(UsageError, match=r"^own\.toml: 4 draws are too few; use more$"):
        measure(asked, methods_of(asked), tmp_path)


def test_given_methods_replace_those_of_the_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laboratory, "STUDIES", FAKES)
    path = str(write_toml(tmp_path))
    assert asked_for(path).protocol.methods == ("noisy", "gaussian")
    assert asked_for(path).changed == ()
    asked = asked_for(path, ["window", "noisy"])
    assert asked.protocol.methods == ("noisy", "window")
    assert asked.changed == ("methods: noisy, window",)
    noisy, window = laboratory.methods_under_test(methods_of(asked))
    assert (noisy.sha256, len(window.sha256)) == ("", 64)
