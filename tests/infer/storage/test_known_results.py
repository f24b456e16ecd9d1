"""How an output recognises its results: complete, truncated, or changed by someone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxr_infer.storage.directory_output import OutputDirectory
from cxr_infer.storage.ledger import digest
from cxr_infer.storage.protocols import State
from cxr_infer.storage.record_files import LEDGER
from tests.conftest import Run, tree

MADE_BY, SOURCE = digest(b"model and settings"), digest(b"original")


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda content: b"", State.DAMAGED),
        (lambda content: content[:1], State.DAMAGED),
        (lambda content: content[:300], State.DAMAGED),
        (lambda content: content[:-1], State.DAMAGED),
        (lambda content: content[:-1] + b"?", State.FOREIGN),
        (lambda content: content + b"more", State.FOREIGN),
        (lambda content: b"?" + content[1:300], State.FOREIGN),
        (lambda content: content[:100] + bytes(200), State.DAMAGED),
        (lambda content: bytes(len(content)), State.DAMAGED),
        (lambda content: bytes(4096), State.DAMAGED),
        (lambda content: content[:512] + bytes(len(content) - 512), State.DAMAGED),
        (lambda content: content[:4000] + bytes(1000), State.FOREIGN),  # may be blackened on purpose
        (lambda content: bytes(len(content) + 1), State.FOREIGN),
        (lambda content: bytes(len(content) - 1) + b"?", State.FOREIGN),
        (lambda content: content[:512] + b"?" + bytes(len(content) - 513), State.FOREIGN),
        (lambda content: b"annotated by a physician", State.FOREIGN),
    ],
)
def test_truncated_results_are_ours_and_changed_ones_are_foreign(
    tmp_path: Path, change: Callable[[bytes], bytes], state: State
) -> None:
    target, content = tmp_path / "a.png", bytes(np.random.default_rng(1).bytes(5000))
    for made_by in (MADE_BY, digest(b"other settings")):
        with OutputDirectory(tmp_path, MADE_BY) as output:
            output.write("a.png", target, SOURCE, content)
        target.write_bytes(change(content))
        with OutputDirectory(tmp_path, made_by) as output:
            assert output.state("a.png", target) is state
            target.write_bytes(content)
            assert output.state("a.png", target) in (State.FINISHED, State.OUTDATED)


def test_results_of_the_first_versions_are_known_by_their_checksums(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"result")
    line = '{{"name": "a.png", "source": "{}", "made_by": "{}", "result": "{}"}}\n'
    text = line.format(SOURCE.hex(), MADE_BY.hex(), digest(b"result").hex())
    (tmp_path / LEDGER).write_text(text)
    with OutputDirectory(tmp_path, MADE_BY) as output:
        assert output.state("a.png", target) is State.FINISHED
        target.write_bytes(b"")
        assert output.state("a.png", target) is State.FOREIGN
        target.write_bytes(b"result")
    assert (tmp_path / LEDGER).read_text() == text


def test_invalid_records_are_ignored(tmp_path: Path) -> None:
    lines = [b"[" * 100_000, b'{"name": "a", "source": 1}', b'{"name": [], "source": "", "made_by": "", "result": ""}']
    lines += [b'{"name": "a", "source": "", "made_by": "", "result": "", "size": %d}' % (1 << 70), b"\0" * 5000]
    (tmp_path / LEDGER).write_bytes(b"\n".join(lines))
    with OutputDirectory(tmp_path, MADE_BY) as output:
        output.write("a", tmp_path / "a", SOURCE, b"result")
        assert output.state("a", tmp_path / "a") is State.FINISHED


def test_a_truncated_result_is_recomputed_and_reported(run: Run, xrays: Path) -> None:
    assert run("cxr-infer", "dir", xrays).returncode == 0
    out = xrays.with_name("x-denoised")
    before = tree(out, ledger=True)
    for damaged in (before["a.png"][:-20], bytes(len(before["a.png"]))):
        (out / "a.png").write_bytes(damaged)
        again = run("cxr-infer", "dir", xrays)
        assert again.returncode == 0, again.stderr
        assert "because they were truncated or blanked: a.png" in again.stderr
        assert "1 denoised, 1 skipped" in again.stdout
        assert tree(out, ledger=True) == before
    (out / "a.png").write_bytes(before["sub/b.png"] + b"edited")
    (out / "sub" / "b.png").write_bytes(b"not ours")
    kept = run("cxr-infer", "dir", xrays)
    assert kept.returncode == 1
    assert kept.stderr.splitlines()[-1] == (
        f"error: not replaced in {out}, because they were not written by cxr-infer, or were changed since: "
        "a.png, sub/b.png; --overwrite replaces them"
    )
    assert (out / "sub" / "b.png").read_bytes() == b"not ours"
