"""The options of the commands that denoise, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[str, typer.Option("--model", "-m", help="window, original, new, or the path of an .onnx file.")]
PrecisionOption = Annotated[
    str, typer.Option(help="fp32, int8, or auto: int8 where the model has it and this CPU is made for it.")
]
StrengthOption = Annotated[float, typer.Option(help="0 gives the input back, 1 removes all the mottle found.")]
WindowOption = Annotated[
    int | None,
    typer.Option(
        help="Side of a window in px, half the overlap beside it at every edge. Default: as large as --memory allows."
    ),
]
OverlapOption = Annotated[
    int | None, typer.Option(help="Least overlap of neighbouring windows in px. Default: the model's own.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(help="Threads to compute with. Default: what affinity and container quota allow.")
]
MemoryOption = Annotated[
    int, typer.Option(help="MB that the network may take. It decides the size of windows and how many run together.")
]
MaxPixelsOption = Annotated[int, typer.Option(help="Most pixels that one image may have; larger ones are refused.")]
WhiteOption = Annotated[
    int | None,
    typer.Option(
        help="Stored value that means white in 16-bit pictures and references, 4095 for 12-bit data. Default: 65535."
    ),
]
InvertOption = Annotated[
    bool,
    typer.Option("--invert", help="The files are wrong about black and white; results are swapped as they are."),
]
CompressOption = Annotated[
    str, typer.Option(help="keep: DICOM results are compressed without loss as their sources were, RLE or JPEG 2000.")
]
DeidentifyOption = Annotated[
    str, typer.Option(help="Only `no`: a DICOM result carries the patient's data as its source does.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace results that exist, and what is in their place.")
]
RepairOption = Annotated[
    bool,
    typer.Option(
        "--repair-wrapped",
        envvar="CXR_INFER_REPAIR_WRAPPED",
        help="First undo the wrap-around of 8-bit noise: near-black specks in bright areas become white. "
        "Only for images that wrapped.",
    ),
]
SourceArgument = Annotated[
    str,
    typer.Argument(metavar="IN", help="Directory of X-rays, read with its subdirectories, or s3://, gs://, az://."),
]
OutOption = Annotated[
    str | None, typer.Option(help="Where results go, in the same tree; a path or URL. Default: IN-denoised.")
]
ReferenceOption = Annotated[Path | None, typer.Option(help="Directory of clean images under the same names.")]
FollowLinksOption = Annotated[
    bool, typer.Option("--follow-links", help="Also read files outside IN to which links in it lead.")
]
ShardOption = Annotated[
    str | None, typer.Option(metavar="I/N", help="Do share I of N only; the same --out for all of them.")
]
EngineOption = Annotated[str, typer.Option(help="local, or ray: on all machines of a Ray cluster.")]
AddressOption = Annotated[
    str | None, typer.Option(help="Ray cluster: auto, or ray://HOST:10001. Default: one on this machine alone.")
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", help="Write everything to this .json file, or to a .jsonl as it happens."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="Write a page of everything, with before and after, to this .html file."),
]
ReportLimitOption = Annotated[
    int, typer.Option(help="Images that the page shows; of more, half are the worst and half drawn by lot.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only problems and the exit status.")]
