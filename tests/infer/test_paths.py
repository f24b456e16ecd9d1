"""Whoever provides X-rays can also prepare their output directory: its links, FIFOs and hard links must be harmless."""

from __future__ import annotations

import os
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from cxr_infer.errors import ImageError, OutputLostError, UsageError
from cxr_infer.files import write_bytes
from cxr_infer.folder import TEMPORARY_SUFFIX, Folder, folder_below
from cxr_infer.storage.claims import folds_names
from cxr_infer.storage.directory_output import OutputDirectory
from cxr_infer.storage.ledger import digest
from cxr_infer.storage.record_files import LEDGER
from tests.conftest import Run, tree

MADE_BY, SOURCE = digest(b"model and settings"), digest(b"original")
PROFILE = b"# mine\n"

Plant = Callable[[Path, Path], None]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the user that no run may touch."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / ".bashrc").write_bytes(PROFILE)
    (folder / f".cxr-0{TEMPORARY_SUFFIX}").write_bytes(b"mine too")
    return folder


def linked(name: Path, victim: Path) -> None:
    name.symlink_to(victim / ".bashrc")


def dangling(name: Path, victim: Path) -> None:
    name.symlink_to(victim / "new")


def hard_linked(name: Path, victim: Path) -> None:
    name.hardlink_to(victim / ".bashrc")


def fifo(name: Path, victim: Path) -> None:
    os.mkfifo(name)


def endless(name: Path, victim: Path) -> None:
    name.symlink_to("/dev/zero")


def folder(name: Path, victim: Path) -> None:
    name.mkdir()


def hole(name: Path, victim: Path) -> None:
    with name.open("wb") as file:
        file.truncate(1 << 40)


PLANTS = (linked, dangling, hard_linked, fifo, endless, folder)
SHARDS = (LEDGER, ".cxr-infer.1-of-2.jsonl", ".cxr-infer.elsewhere.jsonl")


@pytest.mark.parametrize("plant", [*PLANTS, hole])
@pytest.mark.parametrize("name", SHARDS)
def test_an_invalid_record_file_is_refused_by_name(tmp_path: Path, victim: Path, plant: Plant, name: str) -> None:
    before, out = tree(victim), tmp_path / "out"
    out.mkdir()
    plant(out / name, victim)
    with pytest.raises(UsageError, match=name.replace(".", r"\.")), OutputDirectory(out, MADE_BY):
        pytest.fail("the output was opened")
    assert tree(victim) == before
    assert set(os.listdir(out)) <= {name, LEDGER}  # noqa: PTH208


@pytest.mark.parametrize("plant", [linked, fifo, endless])
def test_an_invalid_record_file_ends_the_run_before_it_begins(
    run: Run, xrays: Path, victim: Path, plant: Plant
) -> None:
    before = tree(victim)
    xrays.with_name("x-denoised").mkdir()
    plant(xrays.with_name("x-denoised") / LEDGER, victim)
    done = run("cxr-infer", "dir", xrays)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"x-denoised/{LEDGER}: is a" in done.stderr
    assert tree(victim) == before


@pytest.mark.parametrize("overwrite", [True, False])
def test_an_output_subfolder_that_is_a_link_is_not_followed(
    run: Run, xrays: Path, victim: Path, overwrite: bool
) -> None:
    before, out = tree(victim), xrays.with_name("out")
    out.mkdir()
    (out / "sub").symlink_to(victim)
    done = run("cxr-infer", "dir", xrays, "--out", "out", *(["--overwrite"] if overwrite else []))
    assert done.returncode == 1
    assert "out/sub: is a link, which is not followed" in done.stderr
    assert tree(victim) == before
    assert (out / "a.png").is_file()


def test_the_default_output_must_not_be_a_link(run: Run, xrays: Path, victim: Path) -> None:
    before = tree(victim)
    xrays.with_name("x-denoised").symlink_to(victim)
    done = run("cxr-infer", "dir", xrays)
    assert (done.returncode, tree(victim)) == (2, before)
    assert "x-denoised: is a link; set --out to the directory for results" in done.stderr
    chosen = run("cxr-infer", "dir", xrays, "--out", "x-denoised")  # named by the user
    assert chosen.returncode == 0, chosen.stderr
    assert (victim / "sub" / "b.png").is_file()


@pytest.mark.parametrize("plant", [linked, hard_linked, fifo, endless])
def test_a_file_in_place_of_a_result_is_kept_or_replaced_never_written_to(
    run: Run, xrays: Path, victim: Path, plant: Plant
) -> None:
    before, out = tree(victim), xrays.with_name("out")
    out.mkdir()
    plant(out / "a.png", victim)
    there = (out / "a.png").lstat()
    kept = run("cxr-infer", "dir", xrays, "--out", "out")
    assert kept.returncode == 1
    assert (
        "not replaced in out, because they were not written by cxr-infer, or were changed since: a.png;" in kept.stderr
    )
    assert (out / "a.png").lstat().st_ino == there.st_ino
    replaced = run("cxr-infer", "dir", xrays, "--out", "out", "--overwrite")
    assert replaced.returncode == 0, replaced.stderr
    assert (out / "a.png").read_bytes().startswith(b"\x89PNG")
    assert not (out / "a.png").is_symlink()
    assert tree(victim) == before


def test_a_folder_in_place_of_a_result_is_refused_before_computing(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with OutputDirectory(tmp_path, MADE_BY) as output:
        with pytest.raises(ImageError, match=r"a\.png: is a directory"):
            output.check(tmp_path / "a.png")
        output.check(tmp_path / "new" / "b.png")
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo])
def test_a_file_in_place_of_a_folder_is_reported_with_advice(tmp_path: Path, make: Callable[[Path], None]) -> None:
    target = tmp_path / "out" / "sub" / "b.png"
    with OutputDirectory(tmp_path / "out", MADE_BY) as output:
        make(target.parent)
        for step in (
            lambda: output.check(target),
            lambda: output.state("sub/b.png", target),
            lambda: output.write("sub/b.png", target, SOURCE, b"result"),
        ):
            with pytest.raises(ImageError, match=r"sub: is not a directory.*move it elsewhere"):
                step()


def test_an_output_replaced_by_a_link_counts_as_lost(tmp_path: Path, victim: Path) -> None:
    before = tree(victim)
    with OutputDirectory(tmp_path / "out", MADE_BY) as output:
        output.write("a.png", output.path / "a.png", SOURCE, b"result")
        output.path.rename(tmp_path / "moved")
        output.path.symlink_to(victim)
        with pytest.raises(OutputLostError):
            output.write("b.png", output.path / "b.png", SOURCE, b"result")
        with pytest.raises(OutputLostError):
            output.check(output.path / "b.png")
    assert tree(victim) == before


@pytest.mark.parametrize("held", [True, False])
def test_nothing_is_reached_through_a_link_on_any_system(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """Also where directories cannot be opened, as on Windows."""
    if not held:
        monkeypatch.setattr("cxr_infer.folder.HELD", False)
    before, out = tree(victim), tmp_path / "out"
    out.mkdir()
    (out / "sub").symlink_to(victim)
    (out / "file").symlink_to(victim / ".bashrc")
    with Folder.opened(out) as root:
        for make in (True, False):
            with pytest.raises(ImageError, match="is a link"), folder_below(root, ["sub", "deeper"], make=make):
                pytest.fail("a link was followed")
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND | os.O_CREAT):
            with pytest.raises(ImageError, match="is a link"):
                root.open("file", flags)
        for name in ("..", ".", "", "/", "a/b", "../x", "a\0b"):
            with pytest.raises(ImageError, match="not a valid file name"):
                root.below(name, make=True)
            with pytest.raises(ImageError, match="not a valid file name"):
                root.write(name, (b"x",))
        with folder_below(root, ["new", "newer"], make=True) as made:
            made.write("a", (b"1", b"2"))
        root.write("file", (b"ours",))
        root.remove("sub")
    assert tree(out) == {"file": b"ours", "new/newer/a": b"12"}
    assert tree(victim) == before


def test_a_link_created_after_the_check_is_not_followed(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses the link, even if the check saw none."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(victim)
    (tmp_path / "out" / "file").symlink_to(victim / ".bashrc")
    with Folder.opened(tmp_path / "out") as root:
        directory, plain = victim.stat(), (victim / ".bashrc").stat()
        monkeypatch.setattr(root, "look", {"sub": directory, "file": plain}.get)
        with pytest.raises(OSError, match="Not a directory"):
            root.below("sub")
        with pytest.raises(OSError, match="Too many levels of symbolic links"):
            root.open("file", os.O_RDONLY)


@pytest.mark.parametrize("plant", [linked, hard_linked])
def test_files_named_by_the_user_are_created_anew(tmp_path: Path, victim: Path, plant: Plant) -> None:
    plant(tmp_path / "r.json", victim)
    write_bytes(tmp_path / "r.json", b"report")
    assert (tmp_path / "r.json").read_bytes() == b"report"
    assert (victim / ".bashrc").read_bytes() == PROFILE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "plant"),
    [("file", linked), ("file", dangling), ("file", hard_linked), ("compare", dangling), ("sample", dangling)],
)
def test_other_commands_replace_a_link_only_with_overwrite(
    run: Run, xrays: Path, victim: Path, plant: Plant, command: str
) -> None:
    before = tree(victim)
    target = {"file": "out.png", "compare": "figure.png", "sample": "s/phantom-1-dose-20.png"}[command]
    words = {
        "file": [xrays / "a.png", target],
        "compare": [xrays / "a.png", xrays / "sub" / "b.png", "--out", target],
        "sample": ["s", "--size", "64"],
    }[command]
    (xrays.parent / target).parent.mkdir(exist_ok=True)
    plant(xrays.parent / target, victim)
    refused = run("cxr-infer", command, *words)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert f"{target}: exists; use --overwrite" in refused.stderr
    assert tree(victim) == before
    done = run("cxr-infer", command, *words, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert not (xrays.parent / target).is_symlink()
    assert tree(victim) == before


def test_sample_does_not_follow_a_link_at_its_default_folder(run: Run, tmp_path: Path, victim: Path) -> None:
    before = tree(victim)
    (tmp_path / "s-clean").symlink_to(victim)
    done = run("cxr-infer", "sample", "s", "--size", "64")
    assert (done.returncode, tree(victim)) == (2, before)
    assert "s-clean: is a link" in done.stderr


def test_a_figure_never_replaces_its_input(run: Run, xrays: Path) -> None:
    before = tree(xrays)
    xrays.with_name("link.png").symlink_to(xrays / "a.png")
    for target in (xrays / "a.png", xrays.with_name("link.png")):
        pair = (xrays / "a.png", xrays / "sub" / "b.png")
        done = run("cxr-infer", "compare", *pair, "--out", target, "--overwrite")
        assert done.returncode == 2
        assert "--out must not be CLEAN" in done.stderr
    assert tree(xrays) == before


def test_names_equated_only_by_the_disk_do_not_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that equates names in an unforeseen way, the file itself is recognised."""
    with OutputDirectory(tmp_path, MADE_BY) as output:
        output.write("first.png", tmp_path / "a.png", SOURCE, b"first")
        output.write("first.png", tmp_path / "a.png", SOURCE, b"first again")
        with pytest.raises(ImageError, match=r"second\.png: its result would replace that of first\.png"):
            output.write("second.png", tmp_path / "a.png", SOURCE, b"second")
    assert (tmp_path / "a.png").read_bytes() == b"first again"


def test_two_inputs_for_one_result_are_an_error_on_any_disk(tmp_path: Path) -> None:
    with OutputDirectory(tmp_path, MADE_BY) as output:
        output.claim("//a.png", tmp_path / "a.png")
        with pytest.raises(ImageError, match=r"^a\.png: its result would replace that of //a\.png"):
            output.claim("a.png", tmp_path / "a.png")
        output.folds_names = True
        output.claim("Sub/b.png", tmp_path / "Sub/b.png")
        with pytest.raises(ImageError, match="rename one of them"):
            output.claim("sub/b.png. ", tmp_path / "sub/b.png. ")


@pytest.mark.parametrize("fold", [str.casefold, lambda name: unicodedata.normalize("NFD", name), str])
def test_the_name_folding_of_a_disk_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: Callable[[str], str]
) -> None:
    """Case folding and Unicode normalisation separately, as on some disks of Windows and macOS."""

    def look(folder: Folder, name: str) -> os.stat_result | None:
        found = [path for path in folder.path.iterdir() if fold(path.name) == fold(name)]
        return found[0].lstat() if found else None

    monkeypatch.setattr(Folder, "look", look)
    with Folder.opened(tmp_path) as folder:
        assert folds_names(folder, "") is (fold is not str)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, which only root may; CI does")
def test_a_real_case_folding_disk_is_detected(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "casefold", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no case-folding disk available")
    try:
        out = disk / "out"
        out.mkdir()
        if subprocess.run(["chattr", "+F", out], capture_output=True).returncode != 0:
            pytest.skip("no chattr +F")
        with OutputDirectory(out, MADE_BY) as output:
            assert output.folds_names
            output.claim("\u00e9.png", out / "\u00e9.png")
            with pytest.raises(ImageError, match="rename one of them"):
                output.claim("e\u0301.PNG", out / "e\u0301.PNG")
        assert os.listdir(out) == [LEDGER]  # noqa: PTH208
    finally:
        subprocess.run(["umount", disk], check=True)
