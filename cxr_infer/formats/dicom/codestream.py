"""Decode compressed pixel data according to the stream itself, whatever transfer syntax the header names.

GDCM and DCMTK do the same. Decoders pad truncated streams and trust declared sizes, so size and end are checked first.
Streams that our decoders refuse but others read are repaired before decoding.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

from cxr_infer.errors import ImageError
from cxr_infer.extras import install_command
from cxr_infer.formats.decoders import LIBJPEG, LIBJPEG_TURBO, OPENJPEG, DecoderLostError, ImageDecoder
from cxr_infer.formats.decoding import decoded
from cxr_infer.formats.dicom.lossless_jpeg import DamagedJpegError, decode_lossless
from cxr_infer.formats.dicom.run_lengths import DamagedRunsError, decode_runs

MOST_TILES = 4096  # of a JPEG 2000 image: decoders allocate several kB per tile before the first pixel
MOST_PRECISION = 16  # bits

# markers that start a frame in non-hierarchical JPEG (ITU-T T.81, table B.1) and in JPEG-LS (ITU-T T.87, C.1.1)
SEQUENTIAL, LOSSLESS, JPEG_LS = frozenset({0xC0, 0xC1}), 0xC3, 0xF7
FRAME_MARKERS = SEQUENTIAL | {0xC2, LOSSLESS, 0xC9, 0xCA, 0xCB, JPEG_LS}
BASELINE = SEQUENTIAL | {0xC2}  # decoded by Pillow; C2 is progressive
LOSSY_MARKERS = BASELINE | {0xC9, 0xCA}
SCAN_MARKER, HIERARCHY_MARKER, FILL_BYTE = 0xDA, 0xDE, 0xFF
JPEG, JPEG_2000, JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"
END = b"\xff\xd9"  # of JPEG and JPEG 2000
TILE_PART, CODING_STYLE = b"\xff\x90", b"\xff\x52"  # of JPEG 2000
IRREVERSIBLE = 0  # wavelet transformation 9-7, which is lossy (ITU-T T.800, table A.20)
CODESTREAM_BOX = b"jp2c"
ITEM, ITEMS_END = 0xFFFEE000, 0xFFFEE0DD

# Lossy Image Compression Method, defined terms (PS3.3 C.7.6.1.1.5.1)
LOSSY_JPEG, LOSSY_JPEG_LS, LOSSY_JPEG_2000 = "ISO_10918_1", "ISO_14495_1", "ISO_15444_1"

DAMAGED = "its compressed pixel data are damaged; export it again"
CUT_OFF = "its compressed pixel data are truncated; export it again"
OTHER_SIZE = "its compressed image and its header disagree about the size; export it again"
UNKNOWN = "its transfer syntax cannot be decoded; convert it to Explicit VR Little Endian"
MISSING = f"reading compressed DICOM needs more packages; run: {install_command('dicom')}"
SE_ZERO = "its JPEG scan header does not name all 64 coefficients; all were decoded"
OFFSETS = "its offset table is not that of a single frame; all fragments were read as one frame"
PADDED_RUNS = "its RLE segments hold more bytes than pixels; the rest was ignored"
NO_END = "its JPEG 2000 image lacks the end marker, but all its tiles are complete"
BOXES = "its JPEG 2000 image is wrapped in a JP2 file; the codestream inside was read"

DecodedPixels = NDArray[Any]  # (H, W) uint8, uint16, int8 or int16


@dataclass(frozen=True)
class Decoded:
    """Pixels of a compressed image. precision: bits per pixel. lossy: the compression method; None if lossless."""

    pixels: DecodedPixels
    precision: int
    lossy: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def signed(self) -> bool:
        return bool(self.pixels.dtype.kind == "i")


@dataclass(frozen=True)
class _Header:
    rows: int
    columns: int
    components: int
    precision: int
    scan: int  # offset of the first scan or tile part
    marker: int = 0  # of the JPEG frame


def joined_fragments(pixel_data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Join all fragments of encapsulated pixel data to one frame (PS3.5 A.4), and note a contradicting offset table.

    Raises ImageError if the items are damaged or there are none.
    """
    fragments, at = [], 0
    while at + 8 <= len(pixel_data):
        group, element, length = struct.unpack_from("<HHI", pixel_data, at)
        if group << 16 | element == ITEMS_END:
            break
        if group << 16 | element != ITEM or at + 8 + length > len(pixel_data):
            raise ImageError(DAMAGED)
        fragments.append(pixel_data[at + 8 : at + 8 + length])
        at += 8 + length
    frame = b"".join(fragments[1:])
    if not frame:
        raise ImageError("contains no pixel data; export it with its image")
    return frame, () if fragments[0] in (b"", bytes(4)) else (OFFSETS,)


def decode_frame(frame: bytes, syntax: UID, shape: tuple[int, int], word: int) -> Decoded:
    """Decode a compressed single-component image.

    syntax: transfer syntax, used only if the frame does not identify itself. shape: (rows, columns) by the header.
    word: bytes per pixel in RLE. Raises ImageError if the frame is damaged or truncated, or differs from the header.
    """
    try:
        if frame.startswith(JPEG):
            return _jpeg(frame, shape)
        if frame.startswith((JPEG_2000, JP2)):
            return _jpeg_2000(frame, shape)
        if syntax == RLELossless:
            planes, padded = decode_runs(frame, shape[0] * shape[1], word)
            pixels = planes.view(f"<u{word}").reshape(shape)
            return Decoded(pixels, 8 * word, notes=(PADDED_RUNS,) if padded else ())
    except (struct.error, IndexError, DamagedJpegError, DamagedRunsError) as error:
        raise ImageError(DAMAGED) from error
    known = syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes or syntax in JPEG2000TransferSyntaxes
    raise ImageError(DAMAGED if known else UNKNOWN)


def _jpeg(frame: bytes, shape: tuple[int, int]) -> Decoded:
    header = _jpeg_header(frame)
    _check(header, shape)
    if header.marker == LOSSLESS:
        pixels, precision = decode_lossless(frame)
        return Decoded(pixels, precision)
    if END not in frame[header.scan :]:
        raise ImageError(CUT_OFF)
    notes: tuple[str, ...] = ()
    if header.marker in SEQUENTIAL:
        frame, mended = _whole_spectrum(frame, header.scan)
        notes = (SE_ZERO,) if mended else ()
    lossy = LOSSY_JPEG if header.marker in LOSSY_MARKERS else None
    if header.marker == JPEG_LS and frame[header.scan + 7] > 0:  # NEAR (ITU-T T.87, C.2.3)
        lossy = LOSSY_JPEG_LS
    by_pillow = header.marker in BASELINE and header.precision == 8  # bit-identical to DCMTK and GDCM
    pixels = _decoded(LIBJPEG_TURBO if by_pillow else LIBJPEG, frame, header)
    return Decoded(pixels, header.precision, lossy, notes)


def _jpeg_2000(frame: bytes, shape: tuple[int, int]) -> Decoded:
    boxed = frame.startswith(JP2)
    if boxed:
        frame = _codestream_of_boxes(frame)
    header = _jpeg_2000_header(frame)
    _check(header, shape)
    if header.scan == len(frame):
        raise IndexError
    notes: tuple[str, ...] = (BOXES,) if boxed else ()
    if END not in frame[header.scan :]:
        end = _end_of_tiles(frame, header.scan)
        if end is None:
            raise ImageError(CUT_OFF)
        frame, notes = frame[:end] + END, (*notes, NO_END)
    style = frame.find(CODING_STYLE, 0, header.scan)
    if style < 0:
        raise IndexError
    lossy = LOSSY_JPEG_2000 if frame[style + 13] == IRREVERSIBLE else None
    return Decoded(_decoded(OPENJPEG, frame, header), header.precision, lossy, notes)


def _decoded(decoder: ImageDecoder, frame: bytes, header: _Header) -> DecodedPixels:
    try:
        return decoded(decoder, frame, header.rows * header.columns)
    except ImportError as error:
        raise ImageError(MISSING) from error
    except DecoderLostError as error:
        raise ImageError(f"its compressed pixel data are damaged or malicious: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # each package raises its own types
        raise ImageError(DAMAGED) from error


def _check(header: _Header, shape: tuple[int, int]) -> None:
    if (header.rows, header.columns, header.components) != (*shape, 1):
        raise ImageError(OTHER_SIZE)
    if not 1 <= header.precision <= MOST_PRECISION:
        raise ImageError(
            f"its compressed image has {header.precision} bits per pixel; at most {MOST_PRECISION} are supported"
        )


def _jpeg_header(frame: bytes) -> _Header:
    """Parse the frame header of a JPEG or JPEG-LS image (ITU-T T.81, B.2.2). Raises IndexError or struct.error."""
    position, found = 2, None
    while frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in FRAME_MARKERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, position + 4)
            found = rows, columns, components, precision, marker
        if marker == SCAN_MARKER and found is not None:
            rows, columns, components, precision, marker = found
            return _Header(rows, columns, components, precision, position, marker)
        if marker in (SCAN_MARKER, HIERARCHY_MARKER):
            break
        position += 1 if marker == FILL_BYTE else 2 + int(struct.unpack_from(">H", frame, position + 2)[0])
    raise IndexError


def _whole_spectrum(frame: bytes, scan: int) -> tuple[bytes, bool]:
    """Make a sequential scan cover all 64 coefficients; also return whether it did not (ITU-T T.81, B.2.3)."""
    components = frame[scan + 4]
    at = scan + 5 + 2 * components
    whole = b"\x00\x3f\x00"  # Ss, Se, Ah and Al: the only values allowed in sequential scans
    return frame[:at] + whole + frame[at + 3 :], frame[at : at + 3] != whole


def _jpeg_2000_header(frame: bytes) -> _Header:
    """Parse the header of a JPEG 2000 codestream (ITU-T T.800, A.5.1). Raises IndexError or struct.error."""
    right, bottom, left, top, width, height, first_x, first_y, components = struct.unpack_from(">8IH", frame, 8)
    if not width or not height:
        raise IndexError
    tiles = -(-(right - first_x) // width) * -(-(bottom - first_y) // height)
    if tiles > MOST_TILES:
        raise ImageError(f"its compressed image has {tiles} tiles; at most {MOST_TILES} are allowed")
    rows, columns, precision = bottom - top, right - left, (frame[42] & 0x7F) + 1
    scan = frame.find(TILE_PART)
    return _Header(rows, columns, components, precision, scan if scan >= 0 else len(frame))


def _end_of_tiles(frame: bytes, at: int) -> int | None:
    """Return where the last tile part ends; None if a codestream without end marker lacks some (ITU-T T.800, A.4.2)."""
    right, bottom, _, _, width, height, first_x, first_y = struct.unpack_from(">8I", frame, 8)
    missing = set(range(-(-(right - first_x) // width) * -(-(bottom - first_y) // height)))
    while frame[at : at + 2] == TILE_PART:
        tile, length, part, parts = struct.unpack_from(">HIBB", frame, at + 4)
        if length < 12 or at + length > len(frame):
            return None
        if part + 1 >= parts:
            missing.discard(tile)
        at += length
    return None if missing else at


def _codestream_of_boxes(content: bytes) -> bytes:
    """Return the codestream in a JP2 file (ITU-T T.800, I.5). Raises IndexError or struct.error if there is none."""
    at = 0
    while True:
        length, kind = struct.unpack_from(">I4s", content, at)
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", content, at + 8)[0], 16
        if kind == CODESTREAM_BOX:
            return content[at + head : at + length if length else None]
        if length < head:
            raise IndexError
        at += length
