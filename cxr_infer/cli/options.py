"""Options that several commands of the command line share, each said once."""

from __future__ import annotations

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
