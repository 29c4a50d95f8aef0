"""sensor_msgs Image and CompressedImage in CDR (plain, little-endian), without ROS."""

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

_HEADER = b'\x00\x01'
CHANNELS = {'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1, '8UC1': 1}
# A larger picture is not opened: it would cost memory that nobody set aside.
MAX_PIXELS = 40_000_000


class PictureError(ValueError):
    """The bytes are no picture of a kind that is known here."""


@dataclass(frozen=True)
class Raw:
    """Pixels: uint8, shape (height, step), of which width * channels bytes a row are pixels."""

    before: bytes
    encoding: str
    width: int
    channels: int
    rows: np.ndarray

    def pixels(self) -> np.ndarray:
        """A writable copy, uint8, shape (height, width, channels); `write_raw` takes it back."""
        height = self.rows.shape[0]
        return self.rows[:, :self.width * self.channels].reshape(
            height, self.width, self.channels).copy()


class _Reader:
    def __init__(self, data: bytes) -> None:
        if data[:2] != _HEADER:
            raise PictureError('not little-endian CDR')
        self.data, self.at = data, 4

    def number(self) -> int:
        self.at = (self.at + 3) // 4 * 4   # the 4 bytes of the header keep the alignment
        if self.at + 4 > len(self.data):
            raise PictureError('its bytes end early')
        value = struct.unpack_from('<I', self.data, self.at)[0]
        self.at += 4
        return int(value)

    def block(self) -> bytes:
        size = self.number()
        if self.at + size > len(self.data):
            raise PictureError('its bytes end early')
        self.at += size
        return self.data[self.at - size:self.at]

    def header(self) -> None:
        self.number(), self.number(), self.block()


def read_raw(data: bytes) -> Raw:
    """Raises PictureError."""
    reader = _Reader(data)
    reader.header()
    height, width = reader.number(), reader.number()
    encoding = reader.block()[:40].rstrip(b'\0').decode('ascii', 'replace')
    reader.at += 1   # is_bigendian
    step = reader.number()
    content = reader.block()
    channels = CHANNELS.get(encoding, 0)
    if not channels or not 0 < height * width <= MAX_PIXELS or step < width * channels or \
            len(content) != step * height:
        raise PictureError(f'{encoding!r}, {width} x {height}: not a picture that is known here')
    rows = np.zeros((height, step), np.uint8)   # what lies between the rows is not kept
    rows[:, :width * channels] = np.frombuffer(content, np.uint8).reshape(
        height, step)[:, :width * channels]
    return Raw(data[:reader.at - len(content)], encoding, width, channels, rows)


def write_raw(picture: Raw, pixels: np.ndarray) -> bytes:
    """pixels: as `Raw.pixels` gives them."""
    picture.rows[:, :picture.width * picture.channels] = pixels.reshape(len(pixels), -1)
    return picture.before + picture.rows.tobytes()


def read_compressed(data: bytes) -> tuple[bytes, bytes]:
    """What is before the length of the encoded picture, and the picture. Raises PictureError."""
    reader = _Reader(data)
    reader.header()
    reader.block()   # format: the picture itself says better what it is
    content = reader.block()
    return data[:reader.at - len(content) - 4], content


def write_compressed(before: bytes, content: bytes) -> bytes:
    return before + struct.pack('<I', len(content)) + content


def check_compressed(content: bytes) -> str:
    """'JPEG' or 'PNG', by the picture's own header, before anything is decoded.

    Raises PictureError for another kind, and for more than MAX_PIXELS.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            image = Image.open(io.BytesIO(content), formats=('JPEG', 'PNG'))
    except Exception:   # Pillow fails in any way on bytes that are no picture
        raise PictureError('neither JPEG nor PNG') from None
    if image.width * image.height > MAX_PIXELS:
        raise PictureError(f'{image.width} x {image.height} pixels: more than {MAX_PIXELS}')
    return str(image.format)
