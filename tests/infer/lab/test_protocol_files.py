"""A protocol file defines exactly what is measured; its errors are reported in one line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cxr_infer.errors import UsageError
from cxr_infer.lab.laboratory import known_names
from cxr_infer.lab.protocol import Signal
from cxr_infer.lab.protocol_files import SHIPPED_PROTOCOLS, Known, protocol_hash, protocol_of, read_protocol
from cxr_infer.lab.result import LabResult
from cxr_infer.lab.studies import STUDIES
from tests.infer.lab.protocols import FAKES, PROTOCOL, TOML, write_toml

KNOWN = Known(tuple(FAKES), ("white", "canon_dr_chest"))


def test_a_file_is_read_as_its_protocol(tmp_path: Path) -> None:
    assert read_protocol(str(write_toml(tmp_path)), KNOWN) == PROTOCOL
    without = read_protocol(str(write_toml(tmp_path, TOML.replace("spacing = 0.5\n", ""))), KNOWN)
    assert without == replace(PROTOCOL, spacing=None)
    blurred = read_protocol(str(write_toml(tmp_path, TOML.replace("seed = 7\n", "seed = 7\nblur = 0.8\n"))), KNOWN)
    assert blurred == replace(PROTOCOL, blur=0.8)


@pytest.mark.parametrize("name", SHIPPED_PROTOCOLS)
def test_shipped_protocols_are_valid_and_cover_every_study(name: str) -> None:
    protocol = read_protocol(name, known_names())
    assert protocol.name == name
    assert set(protocol.studies) == set(STUDIES)
    assert {"noisy", "window"} <= set(protocol.methods)
    assert "white" in protocol.noises
    assert len(protocol.noises) > 1
    assert any(signal.kind == "nodule" and signal.size == 5 for signal in protocol.signals)


WRONG = [
    ("seed = 7", "sed = 7", "a protocol: unknown key 'sed'; use name"),
    ("seed = 7\n", "", "seed is missing; add it"),
    ("seed = 7", "seed = -1", "seed -1 is negative"),
    ("seed = 7", "seed = 7.5", "seed must be a whole number, not 7.5"),
    ("seed = 7", "seed = true", "seed must be a whole number, not True"),
    ('name = "tiny"', "name = 3", "name must be a string, not 3"),
    ('name = "tiny"', 'name = " "', "name is empty"),
    (
        'name = "tiny"',
        'name = "../../tiny"',
        "name cannot be a directory name; use at most 60 printable characters without slashes",
    ),
    ('name = "tiny"', 'name = "a\\u0000b"', "name cannot be a directory name"),
    ('name = "tiny"', f'name = "{"x" * 61}"', "name cannot be a directory name"),
    ("version = 3", "version = 0", "version 0 is below 1"),
    ("phantoms = 1", "phantoms = 0", "phantoms 0 is too few"),
    ("side = 96", "side = 16", "side 16 px is outside 64..4096"),
    ("spacing = 0.5", "spacing = 0", "spacing 0.0 mm is invalid"),
    ("spacing = 0.5", "spacing = nan", "spacing nan mm is invalid"),
    ("spacing = 0.5", "spacing = 1e-9", "spacing 1e-09 mm is invalid; use 0.001 to 100"),
    ("seed = 7", "seed = 7\nblur = -1", "blur -1.0 px is outside 0..10"),
    ("seed = 7", "seed = 7\nblur = nan", "blur nan px is outside 0..10"),
    ("doses = [50, 200]", "doses = []", "doses is empty"),
    ("doses = [50, 200]", "doses = 50", "doses must be a list, such as"),
    ("doses = [50, 200]", "doses = [50, 'x']", "each of doses must be a number, not 'x'"),
    ("doses = [50, 200]", "doses = [50, 50]", "doses has '50' twice"),
    ("doses = [50, 200]", "doses = [50, 50.0000001]", "doses has '50' twice"),
    ("doses = [50, 200]", "doses = [1e300]", "doses: 1e+300 photons is invalid; use 0.001 to 1e+12"),
    ("doses = [50, 200]", "doses = [1e-300]", "doses: 1e-300 photons is invalid"),
    ("contrasts = [4, 16]", "contrasts = [4, 4.0000001]", "contrasts has '4' twice"),
    ("doses = [50, 200]", "doses = [inf]", "doses: inf photons is invalid"),
    ('noises = ["white"]', 'noises = ["pink"]', "noises: unknown 'pink'; use white, canon_dr_chest"),
    ("contrasts = [4, 16]", "contrasts = [0]", "contrasts: 0 is invalid"),
    ("draws = 4", "draws = 1", "draws 1 is too few; use 2 or more"),
    ('["error", "levels"]', '["error", "level"]', "studies: unknown 'level'; use error, levels"),
    ("[[signal]]", "[signal]", "signal must be a list of tables; write [[signal]]"),
    ('kind = "nodule"', 'kind = "lump"', "[[signal]] 1: unknown kind 'lump'; use disc"),
    ("size = 5", "size = 0", "[[signal]] 1: size 0 is invalid"),
    ("size = 5", "size = 1e9", "[[signal]] 1: size 1e+09 is invalid; use a number above 0, at most 10000"),
    (
        "[[signal]]",
        '[[signal]]\nkind = "nodule"\nsize = 5.0000001\ncontrast = 8\n\n[[signal]]',
        "signal has 'nodule, 5, +8' twice",
    ),
    ("size = 5", "width = 5", "[[signal]] 1: unknown key 'width'; use kind, size, contrast"),
    ("size = 5\n", "", "[[signal]] 1: size is missing"),
    ("contrast = 8", "contrast = 300", "[[signal]] 1: contrast 300 is invalid"),
    (
        "size = 5",
        "size = 0.4",
        "[[signal]] 1: a nodule of 0.4 mm at 0.5 mm per pixel is too small to draw; use 0.5 or more",
    ),
    (
        'kind = "nodule"\nsize = 5',
        'kind = "lattice"\nsize = 0.9',
        "[[signal]] 1: a lattice of 0.9 mm at 0.5 mm per pixel is too small to draw; use 1 or more",
    ),
    ("seed = 7", 'seed = 7\nif_installed = ["gaussian"]', "if_installed: 'gaussian' is also in methods"),
    ("seed = 7", "seed = 7\nfewer_draws = 2", "fewer_draws must be a table; write [fewer_draws]"),
    ("seed = 7", "seed = 7\nfewer_draws = {gaussian = 1}", "fewer_draws: gaussian 1 is outside 2..4"),
    ("seed = 7", "seed = 7\nfewer_draws = {gaussian = 5}", "fewer_draws: gaussian 5 is outside 2..4"),
    ("seed = 7", "seed = 7\nfewer_draws = {gaussian = 2.5}", "fewer_draws: gaussian must be a whole number, not 2.5"),
    ("seed = 7", "seed = 7\nfewer_draws = {noisy = 2}", "fewer_draws: 'noisy' is not a denoiser in methods"),
    ("seed = 7", "seed = 7\nfewer_draws = {nlm = 2}", "fewer_draws: 'nlm' is not a denoiser in methods"),
    ("seed = 7", "seed = ", "not valid TOML"),
    ("seed = 7", f"seed = {'[' * 10_000}", "not valid TOML"),
]


@pytest.mark.parametrize(("right", "wrong", "message_start"), WRONG)
def test_errors_name_the_file_the_key_and_the_way_out(
    tmp_path: Path, right: str, wrong: str, message_start: str
) -> None:
    assert right in TOML
    path = write_toml(tmp_path, TOML.replace(right, wrong, 1))
    with pytest.raises(UsageError) as refused:
        read_protocol(str(path), KNOWN)
    message = str(refused.value)
    assert message.startswith(f"{path}: {message_start}")
    assert "\n" not in message


def test_unknown_missing_and_binary_protocols_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown protocol 'quik'; use quick or full, or the path of a \.toml file"):
        read_protocol("quik", KNOWN)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_protocol(str(tmp_path / "none.toml"), KNOWN)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_protocol(str(tmp_path / "binary.toml"), KNOWN)


def test_the_hash_covers_everything_except_the_methods() -> None:
    for others in ({"methods": ("window",)}, {"if_installed": ("bm3d",)}, {"fewer_draws": {"gaussian": 2}}):
        assert protocol_hash(replace(PROTOCOL, **others)) == protocol_hash(PROTOCOL)
    changed = (
        replace(PROTOCOL, version=4),
        replace(PROTOCOL, seed=8),
        replace(PROTOCOL, signals=(Signal("nodule", 5.0, 9.0),)),
        replace(PROTOCOL, spacing=None),
    )
    assert len({protocol_hash(each) for each in (PROTOCOL, *changed)}) == len(changed) + 1


def test_fewer_draws_apply_to_the_named_method_only(tmp_path: Path) -> None:
    added = 'seed = 7\nif_installed = ["bm3d"]\nfewer_draws = {bm3d = 2}'
    found = read_protocol(str(write_toml(tmp_path, TOML.replace("seed = 7", added))), KNOWN)
    assert (found.draws_of("bm3d"), found.fewer("bm3d")) == (2, 2)
    assert (found.draws_of("gaussian"), found.fewer("gaussian")) == (4, None)


def test_a_result_contains_its_protocol() -> None:
    stored = LabResult(PROTOCOL, (), (), ()).to_dict()["protocol"]
    assert protocol_of(stored["content"]) == PROTOCOL
    slow = replace(PROTOCOL, if_installed=("bm3d",), fewer_draws={"bm3d": 2})
    assert protocol_of(LabResult(slow, (), (), ()).to_dict()["protocol"]["content"]) == slow
    assert stored["sha256"] == protocol_hash(PROTOCOL)


@pytest.mark.skipif(os.name != "posix", reason="FIFOs")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(UsageError, match=r"^\S+x\.toml: is a FIFO, not a file; move it elsewhere$"):
        read_protocol(str(tmp_path / "x.toml"), KNOWN)
