"""Turn a protocol, methods and images into a result; shared by the command line and the regression gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.exposures import Frames, detector_of_frames
from cxr_infer.lab.images import described, frames_by_name, phantoms
from cxr_infer.lab.methods import NOISY, find_methods, is_installed, package_versions
from cxr_infer.lab.noise import DETECTORS, WHITE_NOISE, DetectorNoise, detector_of_image
from cxr_infer.lab.protocol import Protocol
from cxr_infer.lab.protocol_files import Known, protocol_hash, read_protocol
from cxr_infer.lab.remembered import Remembered
from cxr_infer.lab.repeated import NAME as REPEATED
from cxr_infer.lab.result import LabResult, UnderTest, versions_here
from cxr_infer.lab.runner import UNITS, LabProgress, identity, run_studies
from cxr_infer.lab.setting import Method, Setting
from cxr_infer.lab.studies import STUDIES
from cxr_infer.model.hardware import available_cpus
from cxr_infer.version import __version__

THREADS = 1  # per model: studies run in parallel, and multithreaded sums could differ between machines
DENOISED = "denoised"  # folder of images that slow methods denoised
OWN = "own"  # name of the noise of the user's frames


def known_names() -> Known:
    """Return the names that protocols may use."""
    return Known(tuple(STUDIES), (WHITE_NOISE, *DETECTORS))


@dataclass(frozen=True)
class LabRequest:
    """What to measure. changed: changes of the protocol by the command line, in words. own: the user's detector, whose
    noise is called OWN. only: studies of the protocol to run; empty for all. other_methods: whether the methods differ
    from those of the protocol's file.
    """

    protocol: Protocol
    source: str  # file or name of the protocol, for messages
    images: Mapping[str, FloatImage] = field(default_factory=dict)  # empty: phantoms
    frames: Frames | None = None
    own: DetectorNoise | None = None
    changed: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    other_methods: bool = False


def asked_for(source: str, methods: Sequence[str] = ()) -> LabRequest:
    """Read a protocol by name or file, with other methods if any are given. Raises UsageError.

    Its `methods` then include those of `if_installed` that are installed.
    """
    protocol = read_protocol(source, known_names())
    if not methods:
        found = [name for name in protocol.if_installed if is_installed(name)]
        return LabRequest(replace(protocol, methods=(*protocol.methods, *found)), source)
    chosen = tuple(dict.fromkeys((NOISY, *methods)))
    others = replace(protocol, methods=chosen, if_installed=())
    return LabRequest(others, source, changed=(f"methods: {', '.join(chosen)}",), other_methods=True)


def with_frames(asked: LabRequest, frames: Frames) -> LabRequest:
    """Add repeated exposures, whose noise is then used as well."""
    own = detector_of_frames(frames)
    return replace(_with_own(asked, own, f"frames: {len(frames.names)}, whose noise"), frames=frames)


def with_noise_of(asked: LabRequest, image: FloatImage) -> LabRequest:
    """Add the noise estimated from one noisy image, (H, W) in [0, 1]. Raises ImageError."""
    return _with_own(asked, detector_of_image(image)[0], "noise of an image, which")


def _with_own(asked: LabRequest, own: DetectorNoise, said: str) -> LabRequest:
    protocol = replace(asked.protocol, noises=(*asked.protocol.noises, OWN))
    return replace(asked, protocol=protocol, own=own, changed=(*asked.changed, f"{said} is called {OWN!r}"))


def methods_of(asked: LabRequest) -> list[Method]:
    """Load the methods. Raises UsageError, naming the protocol if it names the methods, and ModelError."""
    try:
        return find_methods(asked.protocol.methods, threads=THREADS)
    except UsageError as error:
        raise error if asked.other_methods else UsageError(f"{asked.source}: methods: {error}") from error


def methods_under_test(methods: Sequence[Method]) -> tuple[UnderTest, ...]:
    return tuple(UnderTest(method.name, getattr(method, "sha256", "")) for method in methods)


def measure(
    asked: LabRequest,
    methods: Sequence[Method],
    out: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
    seen: Callable[[LabProgress], None] = lambda progress: None,
    command: Sequence[str] = (),
    workers: int | None = None,
) -> LabResult:
    """Run the studies of a protocol. Units computed earlier are read from `out`.

    stopped, seen: see `run_studies`. command: the command line to record. workers: parallel studies; None: one per CPU.
    Raises LabStopped, UsageError, which names the protocol, ModelError and ImageError.
    """
    try:
        return _measured(asked, methods, out, stopped, seen, command, workers)
    except UsageError as error:
        raise UsageError(f"{asked.source}: {error}") from error


def _measured(
    asked: LabRequest,
    methods: Sequence[Method],
    out: Path,
    stopped: Callable[[], bool],
    seen: Callable[[LabProgress], None],
    command: Sequence[str],
    workers: int | None,
) -> LabResult:
    protocol = asked.protocol
    images = asked.images or phantoms(protocol)
    detectors = {} if asked.own is None else {OWN: asked.own}
    run = replace(protocol, studies=asked.only or protocol.studies)  # studies share draws only with studies that run
    packages = package_versions([method.name for method in methods])
    setting = Setting(run, images, _remembered(protocol, methods, out), detectors, asked.frames)
    shown, methods_told = described(images), methods_under_test(methods)
    frames = described(frames_by_name(asked.frames))
    belongs_to = identity(
        {
            "version": __version__,
            "protocol": protocol_hash(protocol),
            "images": [one.sha256 for one in shown],
            "frames": [one.sha256 for one in frames],
            "own": "" if asked.own is None else asked.own.digest(),
        }
    )
    names = [name for name in run.studies if name != REPEATED or asked.frames is not None]
    findings = run_studies(
        {name: STUDIES[name] for name in names},
        setting,
        out,
        belongs_to,
        stopped=stopped,
        seen=seen,
        workers=workers or min(available_cpus(), len(names)),
    )
    return LabResult(
        protocol,
        methods_told,
        shown,
        tuple(findings),
        frames=frames,
        changed=asked.changed,
        command=tuple(command),
        versions=versions_here(packages),
    )


def _remembered(protocol: Protocol, methods: Sequence[Method], out: Path) -> list[Method]:
    """Wrap the slow methods so that they denoise no image twice."""
    return [
        method
        if protocol.fewer(method.name) is None
        else Remembered(method, out, PurePath(UNITS, DENOISED), str(package_versions([method.name])))
        for method in methods
    ]
