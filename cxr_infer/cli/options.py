"""Options shared by the commands, and the panels of the help."""

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
    """Complete `--model`: names, folders and .onnx files."""
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
        help="window, original, new, a folder written by cxr-export, or the path of an .onnx file.",
        autocompletion=complete_model,
        rich_help_panel=BASIC,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(help="auto: int8 if the model has it and it is fast on this CPU, else fp32.", rich_help_panel=BASIC),
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
        help="Memory for the network in MB; sets the size of windows and how many run at once.",
        rich_help_panel=ADVANCED,
    ),
]
MaxPixelsOption = Annotated[
    int,
    typer.Option(help="Most pixels per image; larger images are refused.", rich_help_panel=ADVANCED),
]
WhiteOption = Annotated[
    int | None,
    typer.Option(
        help="Stored value that means white in 16-bit pictures and references; 4095 for 12-bit data. Default: 65535.",
        rich_help_panel=ADVANCED,
    ),
]
InvertOption = Annotated[
    bool,
    typer.Option(
        "--invert",
        help="Black and white are swapped in the files; results are written likewise.",
        rich_help_panel=ADVANCED,
    ),
]
CompressOption = Annotated[
    Compress,
    typer.Option(
        help="keep: compress DICOM results losslessly with the codec of the source: RLE, JPEG Lossless, JPEG-LS, "
        "JPEG 2000 or deflate; otherwise they are uncompressed, with a note.",
        rich_help_panel=ADVANCED,
    ),
]
DeidentifyOption = Annotated[
    str,
    typer.Option(
        help="Only `no` is supported: DICOM results keep the patient data of their source.", rich_help_panel=ADVANCED
    ),
]
RepairOption = Annotated[
    bool,
    typer.Option(
        "--repair-wrapped",
        envvar="CXR_INFER_REPAIR_WRAPPED",
        help="First undo the wrap-around of 8-bit noise: near-black specks in bright areas become white. "
        "Only for images with wrapped values.",
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
        help="Path or URL for the results, with the same tree as IN. Default: IN-denoised.",
        rich_help_panel=BASIC,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only.", rich_help_panel=BASIC)]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        help="Directory of clean images with the same names, to measure results against.", rich_help_panel=MEASURE
    ),
]
JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="Write all measurements to this .json file, or to a .jsonl file during the run.",
        rich_help_panel=MEASURE,
    ),
]
CsvOption = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Write a row per file, then mean, SD and n per folder, to this .csv file.",
        rich_help_panel=MEASURE,
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a report with images before and after denoising to this .html file.",
        rich_help_panel=MEASURE,
    ),
]
ReportLimitOption = Annotated[
    int,
    typer.Option(
        help="Most images in the report; in longer runs, half of them are the worst and half a random sample.",
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
        metavar="I/N", help="Denoise only share I of N; give all shares the same --out.", rich_help_panel=MACHINES
    ),
]
EngineOption = Annotated[
    EngineName, typer.Option(help="ray: use all machines of a Ray cluster.", rich_help_panel=MACHINES)
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster: auto, or ray://HOST:10001. Default: a cluster on this machine only.",
        rich_help_panel=MACHINES,
    ),
]
