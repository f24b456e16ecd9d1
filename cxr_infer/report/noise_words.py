"""What a report says of the noise of one file: its figures, and why little of it was removed where that is so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cxr_infer.imaging.mottle import GRAY_LEVELS, Mottle

FAINT, LEFT, UNSURE = "faint", "left", "unsure"  # why before and after say little; see NOTES
NOTES = {
    FAINT: "its noise is too faint for the model, and most of it stays",
    LEFT: "its noise is correlated from pixel to pixel, and most of it stays",
    UNSURE: "noise and structure could not be told apart, so the noise figures are unsure",
}
NO_NOISE_FOUND = "no noise was found in it, so there is nothing to remove"
TOO_SMALL = "too small for its noise to be measured"
ENDINGS = {
    FAINT: "most of the noise stays in {}: too faint for the model",
    LEFT: "most of the noise stays in {}: correlated from pixel to pixel",
    UNSURE: "noise and structure could not be told apart in {}",
}
LITTLE = 0.2  # of the noise found, which must be removed at full strength if before and after are to say something
UNRESOLVED = 0.25  # of the variance before: less cannot be told from a difference; of faint noise that much was left
FAINT_LEVELS = 1.5  # gray levels, up to which the shipped model takes noise for texture


def why_left(before: Mottle, after: Mottle, strength: float) -> str | None:
    """FAINT, LEFT or UNSURE where before and after say little; None where noise was removed, or none was there.

    strength: share of the noise found that was to be removed, 0 to 1.
    """
    if before.kind == "none":
        return None
    if not before.sure:
        return UNSURE
    if before.sd - _remaining(before, after) >= LITTLE * strength * before.sd:
        return None
    if before.gray_levels <= FAINT_LEVELS:
        return FAINT
    return LEFT if before.correlated else None


def noise_note(before: Mottle, left: str | None) -> str:
    """What to say beside the figures of a file, or "". left: see `why_left`."""
    if not before.known:
        return TOO_SMALL
    return NOTES[left] if left else NO_NOISE_FOUND if before.kind == "none" else ""


def left_in(files: Mapping[str, int]) -> str:
    """A sentence for the end of a run, or "". files: number of them by `why_left`."""
    said = [ENDINGS[why].format(_files(files[why])) for why in ENDINGS if files.get(why)]
    return "; ".join(said)


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def photons(at_white: float | None) -> str | None:
    """As text, to the two digits that an estimate is good for."""
    return None if at_white is None else f"{round(at_white, 1 - math.floor(math.log10(at_white))):.0f}"


def _remaining(before: Mottle, after: Mottle) -> float:
    """Standard deviation of what is left of the noise, [0, 1].

    Where the result is too clean for the estimate, what the high-pass lost on the way tells how much was removed, as
    anatomy is in it before and after. Where less is left than such a difference resolves, that bounds it, and so does
    what the high-pass still sees. No guess says that there is more noise than before.
    """
    if after.sure:
        return after.sd
    left = before.sd**2 - (before.with_anatomy**2 - after.with_anatomy**2)
    most = min(max(after.sd, after.with_anatomy), before.sd)
    return min(math.sqrt(max(left, UNRESOLVED * before.sd**2)), most)


def noise_figures(before: Mottle, after: Mottle, strength: float, stretch: float = 1.0) -> dict[str, Any]:
    """The fields of a `FileResult` that tell of noise. stretch: see `Radiograph.stretch`."""
    if not before.known:
        return {"mottle_kind": before.kind}
    across, down = before.correlation if before.sure else (None, None)
    return {
        "mottle_before": stretch * before.gray_levels,
        "mottle_after": stretch * GRAY_LEVELS * _remaining(before, after),
        "mottle_error": before.relative_error,
        "mottle_kind": before.kind,
        "mottle_left": why_left(before, after, strength),
        "correlation_across": across,
        "correlation_down": down,
        "photons_at_white": before.photons_at_white,
    }
