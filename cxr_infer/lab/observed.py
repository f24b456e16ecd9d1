"""What an observer's channels see at many places of many draws, with and without signals.

All compact signals of a protocol share the draws: each place has one of them in one exposure and another in the next.
So do its lines. A draw's random generator does not depend on the method, so that all methods see the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import Float64Array, FloatImage
from cxr_infer.lab import signals
from cxr_infer.lab.conditions import Condition, exposure
from cxr_infer.lab.jackknife import groups_of
from cxr_infer.lab.methods import run
from cxr_infer.lab.noise import expose, generator
from cxr_infer.lab.observer import Ratings, difference_of_gaussians, gabor
from cxr_infer.lab.protocol import GRAY_LEVELS, Signal
from cxr_infer.lab.setting import Method, Setting, UnitStore

COMPACT = ("disc", "nodule")  # signals suited to rotationally symmetric channels
LINEAR = ("line", "dark-line")  # signals suited to channels across their direction
SMALLEST, LARGEST = 33, 129  # px, side of the observer's window
DIAMETERS, NARROW = 3.0, 1.5  # width of the window in diameters of the largest signal: usual, and minimum
WIDTHS = (DIAMETERS, (DIAMETERS + NARROW) / 2, NARROW)  # tried in this order
SEARCHED, SHIFT = 4, 2  # px searched around a place, and px between positions
MOST_PLACES = 12  # per image
CHOICES = 8  # random placements tried
DRAWS_AN_IMAGE = 8  # minimum; with fewer draws, fewer images are used
PLACES = 4  # minimum per image

Outputs = NDArray[np.float32]  # (draws, places, shifts, channels), gray levels of 255


@dataclass(frozen=True)
class Eyepiece:
    """An observer's channels and window.

    channels: those for a window of a given side in px. widths: of the window, in diameters or lengths of the largest
    signal, in the order tried. said: the channels in words.
    """

    channels: Callable[[int], Float64Array]
    widths: tuple[float, ...]
    said: str


ROUND = Eyepiece(difference_of_gaussians, WIDTHS, "dense difference-of-Gaussians channels")
# lines are long; the narrowest window leaves room for many places
ALONG = Eyepiece(lambda side: gabor(side, signals.LINE_ANGLE), (NARROW,), "Gabor channels, one oriented like the line")


@dataclass(frozen=True)
class Scene:
    """Where the observer looks.

    images: clean. names: theirs. places: (images, places, 2), row and column. side: of its window, px.
    """

    images: tuple[FloatImage, ...]
    names: tuple[str, ...]
    places: NDArray[np.intp]
    side: int
    signals: tuple[Signal, ...]
    draws: int
    eyepiece: Eyepiece = ROUND

    @cached_property
    def channels(self) -> Float64Array:
        return self.eyepiece.channels(self.side)

    def first(self, draws: int) -> Scene:
        """Return the scene of the first draws only. Raises UsageError if they do not show each signal."""
        return self if draws == self.draws else replace(self, draws=draws).with_each_signal()

    @property
    def where(self) -> str:
        """The places, in words."""
        images, places = self.places.shape[:2]
        return f"{places} flat places in {'one image' if images == 1 else f'each of {images} images'}"

    @property
    def image_of(self) -> NDArray[np.intp]:
        """Index of the image that each draw exposes, (draws,)."""
        return np.arange(self.draws) % len(self.images)

    @property
    def signal_of(self) -> NDArray[np.intp]:
        """Index of the signal at each place, (draws, places); every place gets all signals."""
        turn = np.arange(self.draws) // len(self.images)
        return np.asarray((turn[:, None] + np.arange(self.places.shape[1])) % len(self.signals))

    @property
    def place_of(self) -> NDArray[np.intp]:
        """Unique number of each place of each image, (draws, places)."""
        places = self.places.shape[1]
        return np.asarray(self.image_of[:, None] * places + np.arange(places))

    def with_each_signal(self) -> Scene:
        """Return self. Raises UsageError if a signal does not occur when one group of draws is left out."""
        if not self._shows_each():
            enough = next(more for more in count(self.draws + 1) if replace(self, draws=more)._shows_each())
            raise UsageError(
                f"{self.draws} draws are too few for {len(self.signals)} signals; use {enough} or "
                "more, or fewer signals"
            )
        return self

    def _shows_each(self) -> bool:
        groups, wanted = groups_of(self.draws), range(len(self.signals))
        return all(np.isin(wanted, self.signal_of[groups != left]).all() for left in np.unique(groups))


def _extent(signal: Signal, spacing: float | None) -> float:
    """Return the diameter or length, px."""
    size = signals.pixels(signal.size, spacing)
    return signals.line_length(size) if signal.kind in LINEAR else size


def window_side(wanted: Sequence[Signal], spacing: float | None, diameters: float = DIAMETERS) -> int:
    """Return the odd side of the window for these signals, px. Raises UsageError if one is too large."""
    largest = max(_extent(signal, spacing) for signal in wanted)
    if NARROW * largest > LARGEST:
        raise UsageError(
            f"a signal of {largest:.0f} px is too large for the observer's window of {LARGEST} px; use a smaller signal"
        )
    return int(np.clip(2 * round(diameters * largest / 2) + 1, SMALLEST, LARGEST))


def scene_of(setting: Setting, wanted: Sequence[Signal], eyepiece: Eyepiece = ROUND) -> Scene:
    """Choose window and places for these signals. Raises UsageError if they do not fit into the images.

    The window has the eyepiece's first width, or a later one if the images have no room for enough windows.
    """
    protocol = setting.protocol
    shown = dict(list(setting.images.items())[: max(1, protocol.draws // DRAWS_AN_IMAGE)])
    images, names = tuple(shown.values()), tuple(shown)
    strongest = max(abs(signal.contrast) for signal in wanted)
    for diameters in eyepiece.widths:
        side = window_side(wanted, protocol.spacing, diameters)
        half = side // 2 + SEARCHED
        room = Signal("disc", 2 * (half / signals.ROOM - 1), strongest)
        found = [_most_places(image, room, protocol.seed) for image in images]
        least = min(map(len, found))
        if least >= PLACES:
            places = np.stack([each[:least] for each in found])
            scene = Scene(images, names, places, side, tuple(wanted), protocol.draws, eyepiece)
            return scene.with_each_signal()
    raise UsageError(
        f"an image has room for only {least} windows of {2 * half + 1} px; use larger images or smaller signals"
    )


def _most_places(image: FloatImage, room: Signal, seed: int) -> NDArray[np.intp]:
    """Return the largest of several random placements; none if nothing fits."""
    try:
        return max((signals.places(image, room, seed + turn, MOST_PLACES) for turn in range(CHOICES)), key=len)
    except UsageError:  # its message would name a signal that is not in the protocol
        return np.zeros((0, 2), dtype=np.intp)


@dataclass(frozen=True)
class ObservedScene:
    """What one method left for the observer, under one noise and dose."""

    scene: Scene
    absent: Outputs
    present: Outputs

    @property
    def centre(self) -> int:
        """Index of the unshifted position."""
        return int(self.absent.shape[2]) // 2

    def first(self, draws: int) -> ObservedScene:
        """Return the first draws only."""
        return ObservedScene(self.scene.first(draws), self.absent[:draws], self.present[:draws])

    def ratings(self, signal: int, without: int | None = None) -> tuple[Ratings, Ratings]:
        """Return ratings at the known place, with the signal of that index and without. without: group of draws to
        leave out.
        """
        kept = np.ones(self.scene.draws, dtype=bool) if without is None else groups_of(self.scene.draws) != without
        here = (self.scene.signal_of == signal) & kept[:, None]
        everywhere = np.broadcast_to(kept[:, None], here.shape)
        return (
            Ratings(self.present[:, :, self.centre][here].astype(np.float64), self.scene.place_of[here]),
            Ratings(self.absent[:, :, self.centre][everywhere].astype(np.float64), self.scene.place_of[everywhere]),
        )


def observe(
    setting: Setting, work: UnitStore, scene: Scene, noise: str, dose: float, method: Method, what: str = ""
) -> ObservedScene:
    """Observe the method's denoised draws of one noise and dose: one unit of work. what: prefix of the unit's key.

    Draws with signals are the scene's own; draws without are those in which all studies see the clean image.
    """
    scene = scene.first(setting.draws_of(method))

    def compute() -> Mapping[str, NDArray[np.generic]]:
        return {
            "absent": np.stack([_look(setting, scene, noise, dose, method, d, False) for d in range(scene.draws)]),
            "present": np.stack([_look(setting, scene, noise, dose, method, d, True) for d in range(scene.draws)]),
        }

    arrays = work.unit(f"{what}{noise}, {dose:g} photons, {setting.key_of(method)}", compute)
    return ObservedScene(scene, arrays["absent"].astype(np.float32), arrays["present"].astype(np.float32))


def _look(setting: Setting, scene: Scene, noise: str, dose: float, method: Method, draw: int, present: bool) -> Outputs:
    index = int(scene.image_of[draw])
    clean, protocol = scene.images[index], setting.protocol
    if not present:
        turn = draw // len(scene.images)
        noisy, told = exposure(setting, Condition(noise, dose), scene.names[index], clean, turn)
    else:
        for number, signal in enumerate(scene.signals):
            centres = scene.places[index][scene.signal_of[draw] == number]
            clean = signals.lay(clean, signal, centres, protocol.spacing, protocol.blur)
        rng = generator(protocol.seed, noise, str(dose), draw, "present")
        noisy, told = expose(clean, setting.noise(noise), dose, rng)
    return channel_outputs(run(method, noisy, told), scene.places[index], scene.channels, scene.side)


def channel_outputs(image: FloatImage, places: NDArray[np.intp], channels: Float64Array, side: int) -> Outputs:
    """Return the channels' outputs at and around each place: (places, shifts, channels), gray levels.

    Each place must be side // 2 + SEARCHED px from the border.
    """
    half = side // 2
    seen = []
    for row, column in places:
        top, left = row - half - SEARCHED, column - half - SEARCHED
        part = image[top : top + side + 2 * SEARCHED, left : left + side + 2 * SEARCHED]
        windows = np.lib.stride_tricks.sliding_window_view(part, (side, side))[::SHIFT, ::SHIFT]
        seen.append(windows.reshape(-1, side * side) @ channels.T.astype(np.float32))
    return np.asarray(np.stack(seen) * np.float32(GRAY_LEVELS), dtype=np.float32)
