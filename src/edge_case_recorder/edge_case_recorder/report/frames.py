"""One camera frame as a small JPEG, from a raw or a compressed image message."""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from edge_case_recorder.redaction.pictures import CHANNELS, MAX_PIXELS

SIZE = 320, 240              # pixels that a frame is fitted into
_WIDE = {'mono16': np.uint16, '16UC1': np.uint16, '32FC1': np.float32}


@dataclass(frozen=True)
class Frame:
    """A frame, seconds from the trigger; jpeg: empty where there is no picture, and why."""

    at_s: float
    jpeg: bytes = b''
    why: str = ''


def thumbnail(message: Any, at_s: float) -> Frame:
    """A sensor_msgs Image or CompressedImage; what cannot be shown becomes a frame that says so."""
    try:
        image = _raw(message) if hasattr(message, 'encoding') else _compressed(message)
        image.thumbnail(SIZE)
        buffer = io.BytesIO()
        image.save(buffer, 'JPEG', quality=82)
    except UnidentifiedImageError:
        return Frame(at_s, why='neither JPEG, PNG nor WebP')
    except Exception as error:   # Pillow's decoders fail in any way on bytes that are none
        return Frame(at_s, why=' '.join(str(error).split())[:120] or 'cannot be shown')
    return Frame(at_s, buffer.getvalue())


def _raw(message: Any) -> Image.Image:
    encoding, height, width = str(message.encoding)[:40], int(message.height), int(message.width)
    wide = _WIDE.get(encoding)
    channels = 1 if wide else CHANNELS.get(encoding, 0)
    if not channels:
        raise ValueError(f'encoding {encoding!r} is not shown')
    row = width * channels * (np.dtype(wide).itemsize if wide else 1)
    step = int(message.step)
    if not 0 < width * height <= MAX_PIXELS or step < row or len(message.data) < step * height:
        raise ValueError(f'{width} x {height} in {len(message.data)} bytes is no picture')
    rows = np.frombuffer(bytes(message.data[:step * height]), np.uint8).reshape(height, step)
    skip = max(1, width // (2 * SIZE[0]))   # Pillow smooths the rest of the way
    if wide:
        kind = np.dtype(wide).newbyteorder('>' if message.is_bigendian else '<')
        values = rows[:, :row].copy().view(kind)[::skip, ::skip]
        return Image.fromarray(_grey(values.astype(np.float64)))
    pixels = rows[:, :row].reshape(height, width, channels)[::skip, ::skip]
    if encoding in ('bgr8', 'bgra8', '8UC3'):
        pixels = pixels[..., 2::-1]
    return Image.fromarray(np.ascontiguousarray(
        pixels[..., 0] if channels == 1 else pixels[..., :3]))


def _grey(values: np.ndarray) -> np.ndarray:
    """Depths or 16 bits, shape (h, w), to 8 bits: the range that the frame itself has."""
    values = np.where(np.isfinite(values), values, 0.0)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / (high - low)) if high > low else values * 0).astype(np.uint8)


def _compressed(message: Any) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        image = Image.open(io.BytesIO(bytes(message.data)), formats=('JPEG', 'PNG', 'WEBP'))
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f'{image.width} x {image.height} is too large')
    image.draft('RGB', (SIZE[0] * 2, SIZE[1] * 2))
    return image.convert('RGB')
