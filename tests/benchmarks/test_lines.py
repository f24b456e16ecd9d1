from __future__ import annotations

import numpy as np

from benchmarks.lines import lost_and_false_lines
from cxr_infer.imaging.phantom import render_phantom
from tests.infer.lab.test_line_response import CONTRAST, SIDE, with_line


def test_erased_lines_are_lost_and_added_lines_are_false() -> None:
    phantom = np.asarray(render_phantom(2, 256) * 0.6 + 0.2, dtype=np.float32)
    erased = lost_and_false_lines([phantom], lambda noisy, white: np.full_like(noisy, 0.5), 71.0)
    assert erased["lost"] == erased["present"] > 10e6 / phantom.size
    assert erased["false"] == 0
    flat = np.full((SIDE, SIDE), 0.4, np.float32)
    added = lost_and_false_lines([flat, flat], lambda noisy, white: with_line(flat, 1.0, 3 * CONTRAST), 71.0)
    assert added == {"present": 0, "lost": 0, "false": 1e6 / flat.size}
