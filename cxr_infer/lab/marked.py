"""Clean images with signals at many places; from draw to draw each place holds every signal at every contrast in turn.

One exposure with signals and one without thus give data for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import FloatImage
from cxr_infer.lab.conditions import at_contrasts
from cxr_infer.lab.noise import generator
from cxr_infer.lab.protocol import Protocol, Signal
from cxr_infer.lab.signals import Places, around, draw, shared_places, surroundings

Square = tuple[slice, slice]

MOST_PLACES = 24  # per image
EDGE = "edge"  # has no place


def kinds(protocol: Protocol) -> list[Signal]:
    """Return the protocol's signals that differ by more than the size of their contrast, without edges."""
    return list({(one.kind, one.size, one.contrast > 0): one for one in protocol.signals if one.kind != EDGE}.values())


def choices(protocol: Protocol) -> list[Signal]:
    """Return every such signal at every contrast."""
    return [each for one in kinds(protocol) for each in at_contrasts(one, protocol.contrasts)]


@dataclass(frozen=True)
class SignalLayout:
    """The signals in one image. order: (draws, places), indices into `signals`."""

    clean: FloatImage
    signals: tuple[Signal, ...]
    centres: Places
    half: int
    spacing: float | None
    blur: float
    order: NDArray[np.intp]

    def squares(self) -> list[Square]:
        """Return the square around each place."""
        return [around(centre, self.half, self.clean.shape) for centre in self.centres]

    def marked(self, turn: int) -> FloatImage:
        """Return the clean image with the signals of one draw, saturated at 0 and 1."""
        total = self.clean.copy()
        for index, (row, column) in zip(self.order[turn], self.centres, strict=True):
            shape = (total.shape[0], total.shape[1])
            total += draw(self.signals[index], shape, (float(row), float(column)), self.spacing, self.blur)
        return np.clip(total, 0, 1, out=total)


def plan_for(clean: FloatImage, name: str, protocol: Protocol) -> SignalLayout:
    """Choose places in an image, and the order of the signals at each. Raises UsageError if there is no place."""
    signals = choices(protocol)
    try:
        centres = shared_places(clean, signals, protocol.seed, MOST_PLACES, protocol.spacing)
    except UsageError as error:
        raise UsageError(f"image {name}: {error}; omit it, or use smaller or fainter signals") from error
    rng = generator(protocol.seed, name, "order of the signals")
    rounds = -(-protocol.draws // len(signals))
    turns = [np.concatenate([rng.permutation(len(signals)) for _ in range(rounds)]) for _ in centres]
    half = max(surroundings(one, protocol.spacing) for one in signals)
    order = np.stack(turns, axis=1)[: protocol.draws]
    return SignalLayout(clean, tuple(signals), centres, half, protocol.spacing, protocol.blur, order)


def projected(signal: FloatImage, squares: list[Square], difference: FloatImage) -> list[float]:
    """Project a difference of two images on the signal around each place."""
    return [float((difference[square].astype(np.float64) * signal[square]).sum()) for square in squares]
