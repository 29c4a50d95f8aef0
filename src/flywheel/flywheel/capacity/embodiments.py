"""Bytes of one request, from an embodiment's description: what `request_bytes` should be for it."""

from pathlib import Path
from typing import Any

import yaml

# Of one camera as JPEG q90 at 256x256 and at 480x640, measured; sizes between are interpolated.
_JPEG_SMALL = (256 * 256, 22_000.0)
_JPEG_LARGE = (480 * 640, 102_000.0)
_HEADERS_BYTES = 800.0


def jpeg_bytes(pixels: int) -> float:
    """Bytes of one frame as JPEG q90, on the line through two measured sizes; at least 1 KB."""
    (x0, y0), (x1, y1) = _JPEG_SMALL, _JPEG_LARGE
    return max(1_000.0, y0 + (y1 - y0) * (pixels - x0) / (x1 - x0))


def request_bytes(embodiment: dict[str, Any], height: int, width: int, jpeg: bool) -> float:
    """Bytes of one observation on the wire: cameras at one size, float32 states, one text."""
    cameras = len(embodiment.get('video') or {})
    pixels = height * width
    frame = jpeg_bytes(pixels) if jpeg else float(3 * pixels)
    values = sum(len(state.get('components') or state.get('joints') or ())
                 for state in (embodiment.get('state') or {}).values())
    return cameras * frame + 4.0 * values + _HEADERS_BYTES


def load(path: Path) -> dict[str, Any]:
    """An embodiment's YAML; raises ValueError when it is none."""
    data = yaml.safe_load(path.read_text())
    if not isinstance(data, dict) or 'embodiment' not in data:
        raise ValueError(f'{path}: not an embodiment (it has no key `embodiment`)')
    return data
