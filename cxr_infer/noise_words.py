"""What a report says of the noise of one file: its figures, and why little of it was removed where that is so."""

from __future__ import annotations

from typing import Any

from cxr_infer.mottle import Mottle

FAINT, LEFT, UNSURE = "faint", "left", "unsure"  # why before and after say little; see NOTES
NOTES = {
    FAINT: "its noise is fainter than what the model removes, and stays",
    LEFT: "its noise is correlated from pixel to pixel, and most of it stays",
    UNSURE: "noise and structure could not be told apart, so the noise figures are unsure",
}
LITTLE = 0.2  # of the noise found, which must be removed at full strength if before and after are to say something
FAINT_LEVELS = 1.5  # gray levels, up to which the shipped model takes noise for texture


def why_left(before: Mottle, after: Mottle, strength: float) -> str | None:
    """FAINT, LEFT or UNSURE where before and after say little; None where noise was removed, or none was there.

    strength: share of the noise found that was to be removed, 0 to 1.
    """
    if before.kind == "none":
        return None
    if not before.sure:
        return UNSURE
    if before.sd - after.sd >= LITTLE * strength * before.sd:
        return None
    if before.gray_levels <= FAINT_LEVELS:
        return FAINT
    return LEFT if before.correlated else None


def noise_figures(before: Mottle, after: Mottle, strength: float) -> dict[str, Any]:
    """The fields of a `FileResult` that tell of noise."""
    across, down = before.correlation
    return {
        "mottle_before": before.gray_levels,
        "mottle_after": after.gray_levels,
        "mottle_error": before.relative_error,
        "mottle_kind": before.kind,
        "mottle_left": why_left(before, after, strength),
        "correlation_across": across,
        "correlation_down": down,
        "photons_at_white": before.photons_at_white,
    }
