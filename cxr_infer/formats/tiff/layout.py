"""Read the sample layout of a TIFF directory, and refuse unsupported ones."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_infer.errors import ImageError
from cxr_infer.formats.tiff.directory import IMAGE_LENGTH, IMAGE_WIDTH, SAMPLES_PER_PIXEL, ImageFileDirectory

BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 258, 259, 262, 266
ROWS_PER_STRIP, STRIP_BYTE_COUNTS, PLANAR_CONFIGURATION, PREDICTOR = 278, 279, 284, 317
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTE_COUNTS, SAMPLE_FORMAT, JPEG_TABLES = 322, 323, 324, 325, 339, 347

UNSIGNED, SIGNED, FLOATING, UNDEFINED = 1, 2, 3, 4  # values of SampleFormat
SAMPLE_FORMATS = {
    UNSIGNED: "unsigned integer",
    SIGNED: "signed integer",
    FLOATING: "floating-point",
    5: "complex integer",
}
IN_PLANES, LEAST_BIT_FIRST = 2, 2  # of PlanarConfiguration and FillOrder
YCBCR = 6  # of PhotometricInterpretation
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # of Predictor

NONE, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE, LZMA, ZSTD = 1, 5, 7, 8, 32773, 32946, 34925, 50000
BY_LIBTIFF = frozenset({LZW, PACKBITS, ZSTD})
INFLATED = frozenset({DEFLATE, OLD_DEFLATE, LZMA})
PREDICTED = frozenset({LZW, ZSTD}) | INFLATED  # compressions that use Predictor
OTHER_COMPRESSIONS = {
    2: "CCITT run lengths",
    3: "CCITT Group 3",
    4: "CCITT Group 4",
    6: "old-style JPEG",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
READ = {UNSIGNED: frozenset({1, 2, 4, *range(8, 17)}), FLOATING: frozenset({32})}  # supported bits per sample
MOST_SAMPLES = 8  # per pixel


@dataclass(frozen=True)
class Layout:
    """Layout of samples. A segment is a strip or tile. Widths and heights are in px; depth is samples per pixel."""

    width: int
    height: int
    samples: int
    bits: int
    format: int
    compression: int
    predictor: int
    planes: bool  # each sample in segments of its own
    tiled: bool
    segment_width: int
    segment_height: int

    @property
    def depth(self) -> int:
        return 1 if self.planes else self.samples

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a segment."""
        return -(-self.segment_width * self.depth * self.bits // 8)

    @property
    def across(self) -> int:
        return -(-self.width // self.segment_width)

    @property
    def segments(self) -> int:
        """Number of segments of a plane."""
        return self.across * -(-self.height // self.segment_height)

    def rows(self, index: int) -> int:
        """Return the number of image rows in a segment. index: within its plane."""
        return min(self.segment_height, self.height - index // self.across * self.segment_height)


def layout_of(directory: ImageFileDirectory) -> Layout:
    """Return the layout of a directory. Raises ImageError if it is not supported."""
    path = directory.path
    width, height = directory.number(IMAGE_WIDTH), directory.number(IMAGE_LENGTH)
    samples = directory.number(SAMPLES_PER_PIXEL, 1)
    bits = directory.numbers(BITS_PER_SAMPLE) or [1]
    formats = [UNSIGNED if f == UNDEFINED else f for f in directory.numbers(SAMPLE_FORMAT)] or [UNSIGNED]
    compression = directory.number(COMPRESSION, NONE)
    if not 0 < samples <= MOST_SAMPLES:
        raise ImageError(
            f"{path}: {samples} samples per pixel are not a gray picture; split it into one file per sample"
        )
    if len(set(bits)) > 1 or len(set(formats)) > 1 or len(bits) > samples:
        raise ImageError(f"{path}: the samples of a pixel differ in type; convert it to 8 or 16 bit gray")
    if bits[0] not in READ.get(formats[0], ()):
        kind = SAMPLE_FORMATS.get(formats[0], "complex")
        raise ImageError(f"{path}: {bits[0]}-bit {kind} pixels are not supported; convert it to 8 or 16 bit gray")
    if compression not in {NONE, JPEG} | INFLATED | BY_LIBTIFF:
        name = OTHER_COMPRESSIONS.get(compression, "an unknown scheme")
        raise ImageError(
            f"{path}: compressed by {name} ({compression}), which is not supported; use LZW, Deflate or none"
        )
    if compression == JPEG and (bits[0] != 8 or samples not in (1, 3) or _in_planes(directory, samples)):
        raise ImageError(
            f"{path}: JPEG in TIFF with {samples} samples of {bits[0]} bits per pixel is not supported; use Deflate"
        )
    stored = directory.number(PREDICTOR, 1)
    if stored in (DIFFERENCES, FLOAT_DIFFERENCES) and compression in (NONE, PACKBITS):  # only libtiff ignores it
        raise ImageError(f"{path}: predictor {stored} without LZW or Deflate is ambiguous; use none")
    predictor = stored if compression in PREDICTED else 1
    if predictor not in (1, DIFFERENCES, FLOAT_DIFFERENCES) or (predictor != 1 and bits[0] not in (8, 16, 32)):
        raise ImageError(f"{path}: predictor {predictor} with {bits[0]}-bit pixels is not supported; use none")
    if predictor == FLOAT_DIFFERENCES and directory.order == ">":  # libtiff writes the least significant bytes first
        raise ImageError(f"{path}: predictor 3 in a big-endian TIFF is ambiguous; save it little-endian")
    tiled = TILE_WIDTH in directory
    rows_per_strip = min(directory.number(ROWS_PER_STRIP, height), height)
    segment = (
        (directory.number(TILE_WIDTH), directory.number(TILE_LENGTH)) if tiled else (width, rows_per_strip or height)
    )
    if min(width, height, *segment) < 1:
        raise ImageError(f"{path}: invalid TIFF size {width}x{height} or segment size {segment}; is it damaged?")
    planes = _in_planes(directory, samples)
    return Layout(width, height, samples, bits[0], formats[0], compression, predictor, planes, tiled, *segment)


def _in_planes(directory: ImageFileDirectory, samples: int) -> bool:
    """Whether each sample has its own plane. PlanarConfiguration is irrelevant for one sample (TIFF 6.0, page 38)."""
    return samples > 1 and directory.number(PLANAR_CONFIGURATION, 1) == IN_PLANES
