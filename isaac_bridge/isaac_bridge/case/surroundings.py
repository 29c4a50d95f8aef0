"""What stood around: boxes from the points of a drive's scans."""

import numpy as np
from numpy.typing import NDArray

from ..layout import Box

CELL_M = 0.2
FEWEST_HITS = 3             # fewer in a cell are noise
MAX_BOXES = 2000


def boxes(points: NDArray[np.float64], keep_clear: NDArray[np.float64],
          clear_m: float) -> list[Box]:
    """Boxes of CELL_M that cover the points (n, 2), as wide along x as neighbours allow.

    None of them comes nearer than clear_m to where somebody was: keep_clear (k, 2). The densest
    MAX_BOXES stay.
    """
    cells, hits = np.unique(np.floor(points / CELL_M).astype(np.int64), axis=0, return_counts=True)
    cells, hits = cells[hits >= FEWEST_HITS], hits[hits >= FEWEST_HITS]
    if len(keep_clear) and len(cells):
        middle = (cells + 0.5) * CELL_M
        apart = np.min(np.hypot(middle[:, None, 0] - keep_clear[None, :, 0],
                                middle[:, None, 1] - keep_clear[None, :, 1]), axis=1)
        keep = apart > clear_m + CELL_M
        cells, hits = cells[keep], hits[keep]
    found: list[tuple[int, Box]] = []
    order = np.lexsort((cells[:, 0], cells[:, 1]))
    cells, hits = cells[order], hits[order]
    cuts = np.flatnonzero((np.diff(cells[:, 0]) != 1) | (np.diff(cells[:, 1]) != 0)) + 1
    for run, weight in zip(np.split(cells, cuts), np.split(hits, cuts), strict=True):
        if len(run):
            low, high = run.min(axis=0) * CELL_M, (run.max(axis=0) + 1) * CELL_M
            found.append((int(weight.sum()), Box(*np.round([*low, *high], 3).tolist())))
    found.sort(key=lambda one: one[0], reverse=True)
    return [box for _, box in found[:MAX_BOXES]]
