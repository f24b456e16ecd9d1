"""X-rays in a bucket: an S3 server on this machine, and a store in memory for tests that need no server."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxr_infer.batch.engine import denoise_files
from cxr_infer.batch.jobs import make_plan
from cxr_infer.errors import ImageError, OutputLostError, UsageError
from cxr_infer.formats.registry import output_name
from cxr_infer.model.denoiser import Model, load_model
from cxr_infer.storage.bucket import MARK, RECORDS_FOLDER, Bucket, BucketOutput
from cxr_infer.storage.directory import Directory
from cxr_infer.storage.ledger import digest
from cxr_infer.storage.opening import default_output, open_storage
from cxr_infer.storage.protocols import State
from cxr_infer.storage.urls import without_secrets
from tests.cluster.conftest import BAD, FILES, S3, contents, ended, records, signalled

MADE_BY, SOURCE = digest(b"model and settings"), digest(b"original")


@pytest.fixture(scope="module")
def originals(s3: S3, many: Path) -> str:
    """The 200 X-rays in a bucket."""
    s3.upload(many, "in")
    return f"s3://{s3.bucket}/in"


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("window", threads=1)


def test_bucket_to_bucket_gives_the_same_as_disk_to_disk(s3: S3, originals: str, whole: Path, tmp_path: Path) -> None:
    out, report = f"s3://{s3.bucket}/out", tmp_path / "r.jsonl"
    done = s3.run("dir", originals, "--out", out, "--json", report)
    assert done.returncode == 1, done.stderr
    assert f"{FILES} denoised, {len(BAD)} failed" in done.stdout
    assert s3.contents("out") == contents(whole)
    assert [{**r, "message": ""} for r in records(report)] == [
        {**r, "message": ""} for r in records(whole.with_suffix(".jsonl"))
    ], "equal except for messages, which name the files differently"
    assert f"results are in {out}" in done.stdout
    written = [json.loads(line) for line in report.read_text().splitlines()]
    assert {line["output"].startswith(f"{out}/") for line in written if line.get("status") == "done"} == {True}
    assert s3.key not in done.stdout + done.stderr + report.read_text()


def test_shards_complete_a_killed_run(s3: S3, few: Path, whole: Path, tmp_path: Path) -> None:
    s3.upload(few, "few")
    out, some = f"s3://{s3.bucket}/killed", f"s3://{s3.bucket}/few"
    names = {output_name(path.name) for path in few.iterdir()}
    expected = {name: content for name, content in contents(whole / "1").items() if name in names}
    killed = s3.start("dir", some, "--out", out, "--json", tmp_path / "k.jsonl", command=signalled(signal.SIGKILL, 3))
    assert ended(killed).returncode == -signal.SIGKILL
    before = s3.contents("killed")
    assert 3 <= len(before) < len(expected)
    assert before.items() <= expected.items(), "results are complete or absent"
    reports = [tmp_path / f"{index}.jsonl" for index in (1, 2)]
    both = [
        s3.start("dir", some, "--out", out, "--shard", f"{index}/2", "--json", report)
        for index, report in enumerate(reports, 1)
    ]
    assert [ended(process).returncode for process in both] == [0, 0]
    assert s3.contents("killed") == expected
    assert sum(record["status"] == "skipped" for record in records(*reports)) == len(before)


def test_disk_to_bucket_gives_the_same_as_bucket_to_disk(s3: S3, few: Path, whole: Path, tmp_path: Path) -> None:
    s3.upload(few, "few")
    both = [
        s3.start("dir", f"s3://{s3.bucket}/few", "--out", tmp_path / "out"),
        s3.start("dir", few.as_uri(), "--out", f"s3://{s3.bucket}/sent"),
    ]
    for done in map(ended, both):
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == s3.contents("sent")
    assert len(s3.contents("sent")) == len(list(few.iterdir()))
    assert s3.contents("sent").items() < contents(whole / "1").items()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["s3://no-such-bucket/in"], "s3://no-such-bucket/in: cannot be listed: The specified bucket does not exist"),
        (["s3://{bucket}/nothing"], "no images found"),
        (["s3://{bucket}/in", "--out", "s3://{bucket}/in/out"], "inside it"),
        (["s3://{bucket}/in", "--out", "s3://no-such-bucket/out"], "cannot be written"),
        (["s3://me:hunter2@{bucket}/in"], "must not hold credentials"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(s3: S3, originals: str, arguments: list[str], problem: str) -> None:
    done = s3.run("dir", *(argument.format(bucket=s3.bucket) for argument in arguments))
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("s3://", "names no bucket"),
        ("s3:///in", "s3:///in: names no bucket; give s3://BUCKET/PREFIX"),
        ("ftp://host/in", "ftp://host/in: unsupported URL scheme; use s3://, gs://, az://, file:// or a path"),
        ("s3://bucket/in?X-Amz-Signature=hunter2", "must not hold credentials"),
    ],
)
def test_invalid_urls_are_refused(url: str, problem: str) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError, match=re.escape(problem)) as refused:
        open_storage(url)
    assert "hunter2" not in str(refused.value)


def test_a_listing_is_read_page_by_page(s3: S3, originals: str, many: Path) -> None:
    code = f"""
from cxr_infer.batch import jobs
from cxr_infer.storage import bucket
from cxr_infer.storage.opening import open_storage
bucket.PAGE = 7
planned = jobs.make_plan(open_storage({originals!r}), open_storage("s3://x/out"))
print(len(planned.names), *planned.problems, *planned.ignored, sep="\\n")
"""
    assert s3.python(code).splitlines() == [
        str(FILES + len(BAD)),
        "['.hidden', 'hidden']",
        "['notes.txt', 'not an X-ray by name or content']",
    ]


def test_missing_credentials_are_reported_in_one_line_with_advice(s3: S3, few: Path, tmp_path: Path) -> None:
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    done = s3.run("dir", few, "--out", f"s3://{s3.bucket}/x", HOME=str(tmp_path), **nothing)
    assert done.returncode == 2, done.stderr
    assert "Unable to locate credentials; check the URL and the credentials in the environment" in done.stderr
    assert done.stderr.count("\n") == 1


def test_credentials_in_the_endpoint_are_not_shown(s3: S3, originals: str) -> None:
    done = s3.run("dir", originals, AWS_ENDPOINT_URL="http://me:hunter2@127.0.0.1:9/?key=hunter2")
    assert done.returncode == 2, done.stderr
    assert "cannot be listed" in done.stderr
    assert "hunter2" not in done.stderr


def test_an_object_is_found_in_one_request(s3: S3, originals: str) -> None:
    code = f"""
from cxr_infer.storage.opening import open_storage
bucket = open_storage({originals!r})
asked, call = [], bucket.files._call_s3
bucket.files._call_s3 = lambda *words, **more: asked.append(words[0]) or call(*words, **more)
print(len(bucket.find("0/000.png")), bucket.find("0/none.png"), [*asked], bucket.find("empty.png"))
"""
    size = len(s3.client.get_object(Bucket=s3.bucket, Key="in/0/000.png")["Body"].read())
    assert s3.python(code) == f"{size} None ['get_object', 'get_object'] b''\n"


def test_a_tree_in_any_store_is_listed_by_name_and_content(memory: Any, many: Path) -> None:
    names = {"b/2.png": b"", "a.png": b"", "b/1.png": b"", "b/.git/x/1.png": b"", "b/.git/2.png": b"", ".x.png": b""}
    names |= {"scan": bytes(128) + b"DICM", "DICOMDIR": bytes(128) + b"DICM", "short": b"", "b/notes.txt": b"text"}
    for name, content in names.items():
        memory.pipe_file(f"/in/{name}", content)
    plan = make_plan(open_storage("memory://in"), open_storage("memory://out"))
    assert sorted(plan.names) == ["a.png", "b/1.png", "b/2.png", "scan"]
    assert sorted(map(tuple, plan.ignored)) == [
        (".x.png", "hidden"),
        ("DICOMDIR", "the index of DICOM media"),
        ("b/.git", "hidden"),
        ("b/notes.txt", "not an X-ray by name or content"),
        ("short", "not an X-ray by name or content"),
    ]


class FlatStore:
    """The part of a gcsfs or adlfs store that a listing uses: `find` returns keys unchanged."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self.keys = keys

    def find(self, path: str) -> list[str]:
        return sorted(key for key in self.keys if key.startswith(path.rstrip("/") + "/"))

    def cat_ranges(self, paths: list[str], start: int, end: int, on_error: str) -> list[bytes]:
        return [self.keys[path][start:end] for path in paths]


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_keys_with_empty_parts_are_listed_in_other_stores(scheme: str, many: Path, tmp_path: Path) -> None:
    image = (many / "0" / "000.png").read_bytes()
    names = [f"{index}.png" for index in range(1200)] + ["//a.png", "/b.png", "c//d.png", "c/e.png", "c//f"]
    flat = FlatStore({f"bucket/in/{name}": image for name in names} | {"bucket/in-2/no.png": image})
    plan = make_plan(Bucket(flat, "bucket/in", f"{scheme}://bucket/in", scheme), open_storage(str(tmp_path / "out")))
    assert sorted(plan.names) == sorted(names)


def test_conflicting_names_and_oversized_objects_are_refused(memory: Any, many: Path, model: Model) -> None:
    image = (many / "0" / "000.png").read_bytes()
    for name in ("a.jpg", "a.jpg.png"):
        memory.pipe_file(f"/in/{name}", image)
    results = list(denoise_files(make_plan(open_storage("memory://in"), open_storage("memory://out")), model))
    assert [result.status for result in results] == ["done", "failed"]
    assert results[1].message == "a.jpg.png: the result of a.jpg would be named a.jpg.png too; rename one of them"
    assert results[0].output == "memory://out/a.jpg.png"
    with pytest.raises(ImageError, match=r"a\.jpg: .* too large for one image"):
        open_storage("memory://in").read("a.jpg", 10)


def test_every_key_is_a_separate_object_and_two_never_share_a_result(s3: S3, few: Path, tmp_path: Path) -> None:
    """Keys may have empty parts, unlike paths."""
    images = [path.read_bytes() for path in sorted(few.glob("*.png"))[:2]]
    keys = {"a.png": 0, "//a.png": 1, "b//c.png": 0, "b/c.png": 1, "/d.png": 0, "e//": 1}
    for key, index in keys.items():
        s3.client.put_object(Bucket=s3.bucket, Key=f"slashes/{key}", Body=images[index])
        s3.client.put_object(Bucket=s3.bucket, Key=f"alone//{key}", Body=images[index])
    s3.client.put_object(Bucket=s3.bucket, Key="whole/0.png", Body=images[0])
    s3.client.put_object(Bucket=s3.bucket, Key="whole/1.png", Body=images[1])
    assert s3.run("dir", f"s3://{s3.bucket}/whole", "--out", f"s3://{s3.bucket}/whole-out").returncode == 0
    zero, one = s3.contents("whole-out").values()

    for source, out in (
        (f"s3://{s3.bucket}/slashes", f"s3://{s3.bucket}/slashes-out"),
        (f"s3://{s3.bucket}/alone//", str(tmp_path / "out")),
    ):
        report = tmp_path / "r.jsonl"
        done = s3.run("dir", source, "--out", out, "--json", report)
        assert done.returncode == 1, done.stderr
        status = {record["name"]: record["status"] for record in records(report)}
        assert sorted(status) == sorted(key for key in keys if not key.endswith("/"))
        assert sorted(status.values()) == ["done"] * 3 + ["failed"] * 2
        assert len([line for line in done.stderr.splitlines() if "its result would replace that of" in line]) == 2
        written = contents(tmp_path / "out") if report.parent == Path(out).parent else s3.contents("slashes-out")
        first = status["a.png"] == "done", status["b/c.png"] == "done"
        assert written == {
            "a.png": zero if first[0] else one,
            "b/c.png": one if first[1] else zero,
            "d.png": zero,
        }


def test_a_truncated_result_is_recognised_as_ours(memory: Any) -> None:
    bucket, target = open_storage("memory://out"), Path("a.png")
    with bucket.output(MADE_BY, None) as output:
        output.write("a.png", target, SOURCE, b"a whole result")
    for content, state in (
        (b"a whole re", State.DAMAGED),
        (b"", State.DAMAGED),
        (bytes(14), State.DAMAGED),
        (b"an edited result", State.FOREIGN),
    ):
        memory.pipe_file("/out/a.png", content)
        with bucket.output(MADE_BY, None) as output:
            assert output.state("a.png", target) is state


def test_a_key_cannot_lead_out_of_the_output_directory(memory: Any, many: Path, model: Model, tmp_path: Path) -> None:
    image = (many / "0" / "000.png").read_bytes()
    for name in ("../a.png", "b/../../c.png", "d\0.png", "f\0/g.png", "/e.png"):
        memory.pipe_file(f"/in/{name}", image)
    results = list(denoise_files(make_plan(open_storage("memory://in"), open_storage(str(tmp_path / "out"))), model))
    assert {result.status for result in results} <= {"done", "failed", "ignored"}
    assert not any("bug in cxr-infer" in result.message for result in results)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_result_is_finished_only_for_the_same_model_and_settings(memory: Any) -> None:
    bucket, target = open_storage("memory://out"), Path("sub/a.png")

    def output(made_by: bytes = MADE_BY) -> BucketOutput:
        entered = bucket.output(made_by, None).__enter__()
        assert isinstance(entered, BucketOutput)
        return entered

    assert output().state("sub/a.png", target) is State.ABSENT
    output().write("sub/a.png", target, SOURCE, b"result")
    later = output()
    assert later.state("sub/a.png", target) is State.FINISHED
    assert not later.made_of("sub/a.png", digest(b"changed original"))
    assert later.made_of("sub/a.png", SOURCE)
    other = output(digest(b"other settings"))
    assert other.state("sub/a.png", target) is State.OUTDATED
    other.write("sub/a.png", target, SOURCE, b"other result")
    memory.pipe_file("/out/sub/a.png", b"result")  # as if killed before the new result replaced it
    assert output().state("sub/a.png", target) is State.FINISHED
    memory.pipe_file("/out/sub/a.png", b"edited")
    assert output().state("sub/a.png", target) is State.FOREIGN
    assert {name.split("/")[2] for name in memory.find("/out")} == {"sub", RECORDS_FOLDER}
    assert memory.exists(f"/out/{MARK}")


def test_a_full_store_ends_the_run(memory: Any, many: Path, model: Model) -> None:
    def full(path: str, content: bytes) -> None:
        if path.endswith(".png"):
            raise OSError(28, "No space left on https://me:hunter2@host/x?token=hunter2")

    bucket = open_storage("memory://out")
    plan = make_plan(Directory(many), bucket)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory), "pipe_file", lambda self, path, content: full(path, content))
        results = list(denoise_files(plan, model))
        with pytest.raises(OutputLostError, match=r"memory://out/x\.png: cannot be written: .*https://host/x"):
            bucket.output(MADE_BY, None).write("x.png", Path("x.png"), SOURCE, b"result")
    assert {result.status for result in results} >= {"failed", "pending"}
    assert not any("hunter2" in result.message for result in results)


def test_urls_are_resolved_to_inputs_and_default_outputs() -> None:
    assert default_output("s3://bucket/in/") == "s3://bucket/in-denoised"
    assert open_storage("file:///tmp/a%20b").shown == "/tmp/a b"
    with pytest.raises(UsageError, match="must not be the input"):
        make_plan(open_storage("memory://x/in"), open_storage("memory://x/in/"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://user:pass/word@bucket/a?X-Amz-Signature=1", "s3://bucket/a"),
        ("at 'http://token@host:80/b?list-type=2&prefix=in' it failed", "at 'http://host:80/b' it failed"),
        ("s3://bucket/plain", "s3://bucket/plain"),
        ("no URL: a@b?", "no URL: a@b?"),
    ],
)
def test_secrets_in_urls_are_not_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
