"""Large images in strips of rows, so that what is computed of them needs little memory beside their own."""

from __future__ import annotations

from collections.abc import Iterator

STRIP = 128  # px of rows: what is computed of them stays in the cache; a multiple of the blocks of `estimate_mottle`


def row_strips(height: int) -> Iterator[slice]:
    """Slices of at most STRIP px that cover rows 0 to `height`."""
    for top in range(0, height, STRIP):
        yield slice(top, min(top + STRIP, height))
