"""The noise measurements of a file, and the reason if little noise was removed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cxr_infer.imaging.mottle import GRAY_LEVELS, Mottle
from cxr_infer.report.text import number_of_files

FAINT, LEFT, UNSURE = "faint", "left", "unsure"  # why before and after are hard to compare; see NOTES
NOTES = {
    FAINT: "its noise is too faint for the model, and most of it is left",
    LEFT: "its noise is correlated from pixel to pixel, and most of it is left",
    UNSURE: "noise could not be separated from structure, so the noise estimates are unsure",
}
NO_NOISE_FOUND = "no noise was found in it, so there is nothing to remove"
TOO_SMALL = "too small for its noise to be measured"
ENDINGS = {
    FAINT: "most of the noise is left in {}: too faint for the model",
    LEFT: "most of the noise is left in {}: correlated from pixel to pixel",
    UNSURE: "noise could not be separated from structure in {}",
}
LITTLE = 0.2  # least fraction of the noise removed at full strength for a meaningful comparison
UNRESOLVED = 0.25  # fraction of the variance before; a difference resolves no less, and as much is left of faint noise
FAINT_LEVELS = 1.5  # gray levels; the shipped model takes fainter noise for texture


def why_left(before: Mottle, after: Mottle, strength: float) -> str | None:
    """Return FAINT, LEFT or UNSURE if before and after are hard to compare; None if noise was removed or absent.

    strength: of denoising, 0 to 1.
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
    said = [ENDINGS[why].format(number_of_files(files[why])) for why in ENDINGS if files.get(why)]
    return "; ".join(said)


def photons(at_white: float | None) -> str | None:
    """Format a number of photons with two digits, the accuracy of the estimate."""
    return None if at_white is None else f"{round(at_white, 1 - math.floor(math.log10(at_white))):.0f}"


def _remaining(before: Mottle, after: Mottle) -> float:
    """Return the standard deviation of the remaining noise, in [0, 1].

    If the result is too clean for an estimate, use the decrease of the high-pass variance, in which anatomy cancels. If
    less is left than this difference resolves, the resolution and the high-pass of the result are upper limits. The
    result never exceeds the noise before.
    """
    if after.sure:
        return after.sd
    left = before.sd**2 - (before.with_anatomy**2 - after.with_anatomy**2)
    most = min(max(after.sd, after.with_anatomy), before.sd)
    return min(math.sqrt(max(left, UNRESOLVED * before.sd**2)), most)


def noise_figures(before: Mottle, after: Mottle, strength: float, stretch: float = 1.0) -> dict[str, Any]:
    """Return the noise fields of a `FileResult`. strength: of denoising. stretch: see `Radiograph.stretch`."""
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
