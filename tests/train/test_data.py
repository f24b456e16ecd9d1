from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import DataError, UsageError
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.pixels import to_bytes, to_unit
from cxr_infer.model.card import ModelCard
from cxr_infer.model.denoiser import Model
from cxr_infer.settings import Settings
from cxr_train.data import SPLITS, XrayFiles, XrayImages, find_xrays, patient_of, read_xray, split_of_patient
from tests.conftest import PATIENTS

IMAGE = np.full((20, 20), 90, np.uint8)


def splits_by_patient(files: XrayFiles) -> dict[str, set[str]]:
    return {split: {patient_of(path) for path in files.files[split]} for split in SPLITS}


def test_patients_are_never_shared_between_splits(files: XrayFiles) -> None:
    patients = splits_by_patient(files)
    assert sum(len(found) for found in patients.values()) == PATIENTS == len(set().union(*patients.values()))
    assert sum(len(paths) for paths in files.files.values()) == 2 * PATIENTS


def test_the_split_is_60_20_20_and_stable() -> None:
    splits = [split_of_patient(f"{number:08}") for number in range(5000)]
    shares = [splits.count(split) / len(splits) for split in SPLITS]
    np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.02)
    assert splits[1:9] == ["val", "train", "train", "test", "train", "train", "test", "test"], "on every machine"


@pytest.mark.parametrize("name", ["split.csv", "Data_Entry_2017.csv", "test_list.txt"])
@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_lists_that_are_not_files_are_refused_without_waiting(
    tmp_path: Path, name: str, plant: Callable[[Path], None]
) -> None:
    write_image(tmp_path / "00000001_000.png", IMAGE)
    if name == "test_list.txt":
        (tmp_path / "Data_Entry_2017.csv").write_text("Image Index\n00000001_000.png\n")
    plant(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: is a .*, not a file"):
        find_xrays(tmp_path)


def test_an_existing_split_is_used(tmp_path: Path) -> None:
    for name in ("00000001_000.png", "00000002_000.png", "00000003_000.png", "00000004_000.png"):
        write_image(tmp_path / "512" / name, IMAGE)
    (tmp_path / "split.csv").write_text(
        "file,split,patient\n00000001_000.png,train,1\n00000002_000.png,val,2\n00000003_000.png,test,3\n"
    )
    patients = splits_by_patient(find_xrays(tmp_path))
    assert patients == {"train": {"00000001"}, "val": {"00000002"}, "test": {"00000003"}}


def test_official_test_patients_stay_in_the_test_split(tmp_path: Path) -> None:
    names = [f"{patient:08}_000.png" for patient in range(40)]
    for index, name in enumerate(names):
        write_image(tmp_path / f"images_{index % 3:03}" / "images" / name, IMAGE)
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(
        "Image Index,Finding Labels,Patient ID\n" + "".join(f"{name},No Finding,1\n" for name in names)
    )
    (tmp_path / "train_val_list.txt").write_text("\n".join(names[8:]))
    (tmp_path / "test_list.txt").write_text("\n".join(names[:8]))
    patients = splits_by_patient(find_xrays(tmp_path))
    assert patients["test"] == {patient_of(Path(name)) for name in names[:8]}
    assert len(patients["train"]) > len(patients["val"]) > 0


def test_a_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    for name in ("00000001_000.png", "00000001_001.png"):
        write_image(tmp_path / name, IMAGE)
    (tmp_path / "split.csv").write_text("file,split\n00000001_000.png,train\n00000001_001.png,test\n")
    with pytest.raises(DataError, match="00000001 is in two splits"):
        find_xrays(tmp_path)


@pytest.mark.parametrize(
    "content", ["name,part\n", "file,split\n00000001_000.png,training\n", "file,split\nx.png,val\n"]
)
def test_an_invalid_split_list_is_refused(tmp_path: Path, content: str) -> None:
    write_image(tmp_path / "00000001_000.png", IMAGE)
    (tmp_path / "split.csv").write_text(content)
    with pytest.raises(DataError, match=r"split\.csv"):
        find_xrays(tmp_path)


def test_empty_and_missing_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images found"):
        find_xrays(tmp_path)
    with pytest.raises(UsageError, match="no such directory"):
        find_xrays(tmp_path / "gone")
    write_image(tmp_path / "00000001_000.png", IMAGE)
    found = find_xrays(tmp_path)
    empty = next(split for split in SPLITS if not found.files[split])
    with pytest.raises(DataError, match=f"no {empty} images"):
        found.require(empty)


def test_unreadable_images_are_counted_and_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", IMAGE)
    (tmp_path / "b.png").write_bytes(b"broken")
    (tmp_path / "c.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 3 images cannot be used; first: .*b\.png"):
        XrayImages([tmp_path / name for name in ("a.png", "b.png", "c.png")]).check()


def test_images_are_resized_or_native_and_the_cache_changes_nothing(files: XrayFiles) -> None:
    paths = files.require("train")
    cached, uncached = XrayImages(paths), XrayImages(paths, cache_bytes=0)
    assert cached[0].shape == (128, 128)
    np.testing.assert_array_equal(cached[0], uncached[0])
    np.testing.assert_array_equal(cached[0], cached[0])
    stack = XrayImages(paths, size=64).stack(3)
    assert stack.shape == (3, 1, 64, 64)
    assert stack.dtype == np.float32
    assert stack.max() <= 1


def test_an_xray_at_two_resolutions_counts_once_if_a_size_is_given(tmp_path: Path) -> None:
    for side in (20, 40):
        write_image(tmp_path / str(side) / "00000001_000.png", np.full((side, side), 90, np.uint8))
    paths = sorted(tmp_path.rglob("*.png"))
    assert [p.parent.name for p in XrayImages(paths, size=40).files] == ["40"]
    assert len(XrayImages(paths)) == 2


def test_the_fingerprint_changes_with_the_data(tmp_path: Path) -> None:
    write_image(tmp_path / "00000001_000.png", IMAGE)
    before = find_xrays(tmp_path).fingerprint()
    assert find_xrays(tmp_path).fingerprint() == before
    write_image(tmp_path / "00000002_000.png", IMAGE)
    assert find_xrays(tmp_path).fingerprint() != before


def test_a_patient_column_replaces_the_file_name_prefix(tmp_path: Path) -> None:
    lines = ["file,split,patient"]
    for index, split in enumerate(("train", "val", "test")):
        write_image(tmp_path / f"chest_xray_{index}.png", IMAGE)
        lines.append(f"chest_xray_{index}.png,{split},p{index}")
    write_image(tmp_path / "._chest_xray_0.png", IMAGE)
    (tmp_path / "split.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    files = find_xrays(tmp_path)
    assert [len(files.require(split)) for split in SPLITS] == [1, 1, 1]
    (tmp_path / "split.csv").write_text("\n".join(line.rsplit(",", 1)[0] for line in lines))
    with pytest.raises(DataError, match="column patient"):
        find_xrays(tmp_path)


def test_equal_file_names_in_patient_folders_stay_apart(tmp_path: Path) -> None:
    paths = [tmp_path / f"patient-{index}" / "frontal.png" for index in range(3)]
    assert len(XrayImages(paths, size=512).files) == 3


def test_a_list_that_is_not_text_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "00000001_000.png", IMAGE)
    (tmp_path / "split.csv").write_bytes(b"file,split\n\xe9\xff.png,train\n")
    with pytest.raises(DataError, match="cannot be read"):
        find_xrays(tmp_path)


@pytest.mark.parametrize("shape", [(100, 128), (500, 1024), (1024, 500), (40, 900), (64, 64), (128, 128)])
def test_whole_images_are_resized_as_in_inference(tmp_path: Path, shape: tuple[int, int]) -> None:
    """A baseline loses quality if it is trained on images resized in another way than in inference."""
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    write_image(tmp_path / "a.png", image)
    seen: list[NDArray[np.float32]] = []

    class RecordingSession:
        """A session that records its input and returns it."""

        def run(self, names: object, feed: dict[str, NDArray[np.float32]], options: object) -> object:
            seen.append(feed["noisy"])
            return [feed["noisy"]]

    model = Model(ModelCard("original", "", size=64), tmp_path / "model.onnx", "", RecordingSession())
    model.denoise_unit(to_unit(image), Settings())
    np.testing.assert_array_equal(read_xray(tmp_path / "a.png", 64), to_bytes(seen[0][0, 0]))
