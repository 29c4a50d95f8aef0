"""The example: boxes that OpenCV's Haar cascades find, faces and plates, are filled with black.

An example of a plug-in, and no protection: docs/redaction.md says how much it misses. A site picks
its own detector. OpenCV 4 has the cascades and their classifier; OpenCV 5 has neither.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from edge_case_recorder.redaction import IMAGE, Redactor
from edge_case_recorder.redaction.pictures import (
    PictureError,
    check_compressed,
    read_compressed,
    read_raw,
    write_compressed,
    write_raw,
)

CASCADES = 'haarcascade_frontalface_alt2.xml,haarcascade_russian_plate_number.xml'
# Viola and Jones: each step looks for boxes larger by this factor, and keeps what so many
# overlapping ones agree on. Fewer neighbours: more is found, more that is none is filled.
SCALE_STEP, NEIGHBOURS = 1.1, 3
_SUFFIXES = {'JPEG': '.jpg', 'PNG': '.png'}
_GREY = {'rgb8': cv2.COLOR_RGB2GRAY, 'bgr8': cv2.COLOR_BGR2GRAY, '8UC3': cv2.COLOR_BGR2GRAY,
         'rgba8': cv2.COLOR_RGBA2GRAY, 'bgra8': cv2.COLOR_BGRA2GRAY}
Box = tuple[int, int, int, int]   # x, y, width, height in pixels


class OpenCvRedactor(Redactor):
    """Options: cascades, min_size, margin; or `whole=true`: the whole picture is filled.

    cascades: files separated by commas; a bare name is one of those in OpenCV's wheel.
    min_size: pixels; what is smaller is not looked for.
    margin: by how much of its size a box is made larger at each side, as a share.
    Filled, not blurred: a blur can be undone. A picture of another kind is left out.
    """

    name = 'opencv'
    version = cv2.__version__
    hides = 'whole pictures'

    def __init__(self, options: Mapping[str, str]) -> None:
        unknown = set(options) - {'cascades', 'min_size', 'margin', 'whole'}
        if unknown:
            raise ValueError(f'unknown option {sorted(unknown)[0]!r}')
        if options.get('whole', 'true') != 'true' or ('whole' in options and len(options) > 1):
            raise ValueError('whole must be true, and stand alone')
        self._classifiers = []
        self._min_size = int(_number(options, 'min_size', 24, 8, 4096))
        self._margin = _number(options, 'margin', 0.2, 0.0, 2.0)
        if 'whole' in options:
            return
        self._classifiers = [_classifier(path)
                             for path in options.get('cascades', CASCADES).split(',')]
        self.hides = 'boxes that Haar cascades find: faces, plates; many are missed'

    def redact(self, topic: str, type_name: str, data: bytes) -> bytes | None:
        if type_name == IMAGE:
            picture = read_raw(data)
            pixels = picture.pixels()
            grey = cv2.cvtColor(pixels, _GREY[picture.encoding]) if picture.channels > 1 \
                else pixels[..., 0]
            return write_raw(picture, _filled(pixels, self.boxes(grey)))
        before, content = read_compressed(data)
        kind = check_compressed(content)
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise PictureError(f'a {kind} that cannot be decoded')
        boxes = self.boxes(cv2.cvtColor(decoded, cv2.COLOR_BGR2GRAY))
        if not boxes:
            return data   # encoding it again would only cost time and quality
        done, encoded = cv2.imencode(_SUFFIXES[kind], _filled(decoded, boxes))
        if not done:
            raise PictureError(f'a {kind} that cannot be encoded again')
        return write_compressed(before, encoded.tobytes())

    def boxes(self, grey: np.ndarray) -> list[Box]:
        """What is to be filled. grey: uint8, shape (h, w)."""
        height, width = grey.shape
        if not self._classifiers:
            return [(0, 0, width, height)]
        grey = np.ascontiguousarray(grey)
        found = [(int(x), int(y), int(w), int(h)) for classifier in self._classifiers
                 for x, y, w, h in classifier.detectMultiScale(
                     grey, SCALE_STEP, NEIGHBOURS, minSize=(self._min_size, self._min_size))]
        return [self._with_margin(box, width, height) for box in found]

    def _with_margin(self, box: Box, width: int, height: int) -> Box:
        x, y, w, h = box
        left, top = max(0, x - round(w * self._margin)), max(0, y - round(h * self._margin))
        right = min(width, x + w + round(w * self._margin))
        bottom = min(height, y + h + round(h * self._margin))
        return left, top, right - left, bottom - top


def _filled(pixels: np.ndarray, boxes: list[Box]) -> np.ndarray:
    """pixels: uint8, shape (h, w, channels). Changes and returns them."""
    for x, y, width, height in boxes:
        pixels[y:y + height, x:x + width] = 0
    return pixels


def _classifier(path: str) -> 'cv2.CascadeClassifier':
    """Raises ValueError."""
    if not hasattr(cv2, 'CascadeClassifier'):
        raise ValueError(f'OpenCV {cv2.__version__} has no CascadeClassifier; 4.x has')
    file = Path(path)
    if '/' not in path and not file.is_file():
        file = Path(getattr(getattr(cv2, 'data', None), 'haarcascades', '')) / path
    if not file.is_file():
        raise ValueError(f'{path}: no such cascade file')
    try:
        classifier = cv2.CascadeClassifier(str(file))
    except (cv2.error, SystemError):   # OpenCV raises the second where it finds no XML
        raise ValueError(f'{path}: no cascade') from None
    if classifier.empty():
        raise ValueError(f'{path}: no cascade')
    return classifier


def _number(options: Mapping[str, str], name: str, default: float, low: float,
            high: float) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = float('nan')
    if not low <= value <= high:
        raise ValueError(f'{name} = {options[name]!r}: must be {low} to {high}')
    return value
