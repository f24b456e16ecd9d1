"""The options of the commands that denoise, each said once, and the panels of the help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

BASIC, MEASURE, ADVANCED, MACHINES = "Basic", "Measure", "Advanced", "Many machines"

Precision = Literal["auto", "fp32", "int8"]
Compress = Literal["keep", "none"]
EngineName = Literal["local", "ray"]


def complete_model(incomplete: str) -> Iterator[str]:
    """What `--model` can go on with: names, folders and .onnx files."""
    from cxr_infer.model.card import MODEL_NAMES

    yield from (name for name in MODEL_NAMES if name.startswith(incomplete))
    begun = Path(incomplete)
    folder, start = (begun, "") if incomplete.endswith("/") else (begun.parent, begun.name)
    try:
        found = sorted(path for path in folder.iterdir() if path.name.startswith(start))
    except OSError:
        return
    for path in found:
        if path.is_dir() and not path.name.startswith("."):
            yield f"{path}/"
        elif path.suffix.lower() == ".onnx":
            yield str(path)


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="window, original, new, the folder that cxr-export wrote, or the path of an .onnx file.",
        autocompletion=complete_model,
        rich_help_panel=BASIC,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="auto: int8 if the model has it and this CPU computes it fast, else fp32.", rich_help_panel=BASIC
    ),
]
StrengthOption = Annotated[
    float,
    typer.Option(help="0 returns the input, 1 removes all the noise found.", rich_help_panel=BASIC),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace existing results and other files in their place.", rich_help_panel=BASIC),
]
WindowOption = Annotated[
    int | None,
    typer.Option(
        help="Side of a window in px, extended by half the overlap on every side. "
        "Default: as large as --memory allows.",
        rich_help_panel=ADVANCED,
    ),
]
OverlapOption = Annotated[
    int | None,
    typer.Option(
        help="Least overlap of neighbouring windows in px. Default: the model's own.", rich_help_panel=ADVANCED
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        help="Threads to compute with. Default: as many as CPU affinity and container quota allow.",
        rich_help_panel=ADVANCED,
    ),
]
MemoryOption = Annotated[
    int,
    typer.Option(
        help="MB that the network may take. It decides the size of windows and how many run together.",
        rich_help_panel=ADVANCED,
    ),
]
MaxPixelsOption = Annotated[
    int,
    typer.Option(help="Most pixels in an image; larger images are refused.", rich_help_panel=ADVANCED),
]
WhiteOption = Annotated[
    int | None,
    typer.Option(
        help="Stored value that means white in 16-bit pictures and references, 4095 for 12-bit data. Default: 65535.",
        rich_help_panel=ADVANCED,
    ),
]
InvertOption = Annotated[
    bool,
    typer.Option(
        "--invert",
        help="The files have black and white swapped; the results keep that.",
        rich_help_panel=ADVANCED,
    ),
]
CompressOption = Annotated[
    Compress,
    typer.Option(
        help="keep: compress DICOM results losslessly as their source: RLE, JPEG Lossless, JPEG-LS, JPEG 2000 or "
        "deflated; other results stay uncompressed, with a note.",
        rich_help_panel=ADVANCED,
    ),
]
DeidentifyOption = Annotated[
    str,
    typer.Option(
        help="Only `no`: a DICOM result carries the patient's data as its source does.", rich_help_panel=ADVANCED
    ),
]
RepairOption = Annotated[
    bool,
    typer.Option(
        "--repair-wrapped",
        envvar="CXR_INFER_REPAIR_WRAPPED",
        help="First undo the wrap-around of 8-bit noise: near-black specks in bright areas become white. "
        "Only for images that wrapped.",
        rich_help_panel=ADVANCED,
    ),
]
SourceArgument = Annotated[
    str,
    typer.Argument(metavar="IN", help="Directory of X-rays, read with its subdirectories, or s3://, gs://, az://."),
]
TargetArgument = Annotated[str | None, typer.Argument(metavar="OUT", help="The same as --out.")]
OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="Where results go, in the same tree; a path or URL. Default: IN-denoised.",
        rich_help_panel=BASIC,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only.", rich_help_panel=BASIC)]
ReferenceOption = Annotated[
    Path | None, typer.Option(help="Directory of clean images under the same names.", rich_help_panel=MEASURE)
]
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="Write all figures to this .json file, or to a .jsonl file during the run.",
        rich_help_panel=MEASURE,
    ),
]
CsvOption = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Write a row for each file, then mean, SD and n of each folder, to this .csv file.",
        rich_help_panel=MEASURE,
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a report with images before and after to this .html file.",
        rich_help_panel=MEASURE,
    ),
]
ReportLimitOption = Annotated[
    int,
    typer.Option(
        help="Most images on the page; of a longer run, half are the worst and half drawn at random.",
        rich_help_panel=MEASURE,
    ),
]
WatchOption = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Keep running and denoise new files in IN once they are complete, until Ctrl-C or SIGTERM.",
        rich_help_panel=BASIC,
    ),
]
FollowLinksOption = Annotated[
    bool,
    typer.Option(
        "--follow-links", help="Also follow links in IN that lead to files outside it.", rich_help_panel=ADVANCED
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N", help="Denoise share I of N only; give all shares the same --out.", rich_help_panel=MACHINES
    ),
]
EngineOption = Annotated[
    EngineName, typer.Option(help="ray: on all machines of a Ray cluster.", rich_help_panel=MACHINES)
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster: auto, or ray://HOST:10001. Default: one on this machine alone.", rich_help_panel=MACHINES
    ),
]
