"""Camera messages to the network's pictures: RGB, uint8, the size that the model takes."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
_MAX_SIDE = 8192
_MAX_COMPRESSED = 32 * 1024 * 1024
# Encoding -> (channels, OpenCV's conversion to RGB; None when it is RGB).
_ENCODINGS = {
    'rgb8': (3, None), 'bgr8': (3, cv2.COLOR_BGR2RGB), 'mono8': (1, cv2.COLOR_GRAY2RGB),
    'rgba8': (4, cv2.COLOR_RGBA2RGB), 'bgra8': (4, cv2.COLOR_BGRA2RGB),
}


class ImageError(ValueError):
    """The message is not a picture that can be used; the message says why."""


def from_image(message: Any) -> Picture:
    """RGB (height, width, 3) of a sensor_msgs/Image; a view of its bytes where it is rgb8."""
    if message.encoding not in _ENCODINGS:
        raise ImageError(f'encoding {message.encoding!r} is not one of {", ".join(_ENCODINGS)}')
    channels, conversion = _ENCODINGS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise ImageError(f'{width}x{height} pixels; 1 to {_MAX_SIDE} a side are taken')
    data = np.frombuffer(message.data, dtype=np.uint8)
    if step < width * channels or data.size < step * height:
        raise ImageError(f'{data.size} bytes in rows of {step} are too few for {width}x{height} '
                         f'{message.encoding}')
    rows = data[:step * height].reshape(height, step)[:, :width * channels]
    picture = rows.reshape(height, width, channels)
    return picture if conversion is None else _rgb(cv2.cvtColor(picture, conversion))


def from_compressed(message: Any) -> Picture:
    """RGB of a sensor_msgs/CompressedImage (JPEG or PNG)."""
    data = np.frombuffer(message.data, dtype=np.uint8)
    if not 1 <= data.size <= _MAX_COMPRESSED:
        raise ImageError(f'{data.size} compressed bytes; 1 to {_MAX_COMPRESSED} are taken')
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if picture is None:
        raise ImageError(f'format {message.format!r} could not be decoded')
    return _rgb(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))


def fitted(picture: Picture, height: int, width: int) -> Picture:
    """The picture at the model's size; itself when it has that size already."""
    if picture.shape[:2] == (height, width):
        return picture
    smaller = picture.shape[0] >= height and picture.shape[1] >= width
    return _rgb(cv2.resize(picture, (width, height),
                           interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def to_jpeg(picture: Picture, quality: int) -> bytes:
    """A picture (height, width, 3) RGB as JPEG of quality 1 to 100; raises ImageError."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or (
            picture.size == 0):
        raise ImageError(f'{picture.dtype} {picture.shape} is not uint8 (height, width, 3)')
    done, data = cv2.imencode('.jpg', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f'{picture.shape} could not be encoded as JPEG')
    return bytes(data)


def _rgb(array: Any) -> Picture:
    return np.asarray(array, dtype=np.uint8)
