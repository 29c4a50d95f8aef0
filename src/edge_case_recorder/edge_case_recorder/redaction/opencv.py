"""The example: regions that an OpenCV cascade finds are filled with black.

A Haar cascade misses faces and plates: it shows how a plug-in is written, and protects nobody.
OpenCV 5 has neither the cascades nor their classifier (4.x has both): there, `whole=true`.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from edge_case_recorder.redaction import IMAGE, Redactor
from edge_case_recorder.redaction.pictures import (
    PictureError,
    read_compressed,
    read_raw,
    write_compressed,
    write_raw,
)

_MARKS = ((b'\xff\xd8\xff', '.jpg'), (b'\x89PNG\r\n\x1a\n', '.png'))


class OpenCvRedactor(Redactor):
    """Options: `cascades`, files separated by commas; or `whole=true`: the whole picture is filled.

    Filled, not blurred: a blur can be undone. A picture of another kind is left out.
    """

    name = 'opencv'
    version = cv2.__version__
    hides = 'whole pictures'

    def __init__(self, options: Mapping[str, str]) -> None:
        unknown = set(options) - {'cascades', 'whole'}
        if unknown:
            raise ValueError(f'unknown option {sorted(unknown)[0]!r}')
        self._classifiers = []
        if options.get('whole') == 'true':
            return
        if not options.get('cascades'):
            raise ValueError('give cascades=FILE,.. or whole=true')
        if not hasattr(cv2, 'CascadeClassifier'):
            raise ValueError(f'OpenCV {cv2.__version__} has no CascadeClassifier; 4.x has')
        for path in options['cascades'].split(','):
            classifier = cv2.CascadeClassifier(path)
            if classifier.empty():
                raise ValueError(f'{path}: no cascade')
            self._classifiers.append(classifier)
        self.hides = 'what cascades find: faces, plates; many are missed'

    def redact(self, topic: str, type_name: str, data: bytes) -> bytes | None:
        if type_name == IMAGE:
            picture = read_raw(data)
            return write_raw(picture, self._filled(picture.pixels()))
        before, content = read_compressed(data)
        suffix = next((suffix for mark, suffix in _MARKS if content.startswith(mark)), '')
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if not suffix or pixels is None:
            raise PictureError('neither JPEG nor PNG')
        done, encoded = cv2.imencode(suffix, self._filled(pixels))
        return write_compressed(before, encoded.tobytes()) if done else None

    def _filled(self, pixels: np.ndarray) -> np.ndarray:
        """pixels: uint8, shape (h, w, 1 or 3). Changes and returns them."""
        for x, y, width, height in self.regions(pixels):
            pixels[y:y + height, x:x + width] = 0
        return pixels

    def regions(self, pixels: np.ndarray) -> list[tuple[int, int, int, int]]:
        """x, y, width, height in pixels of what is to be filled."""
        if not self._classifiers:
            return [(0, 0, pixels.shape[1], pixels.shape[0])]
        grey = pixels[..., 0] if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        grey = np.ascontiguousarray(grey)
        return [(int(x), int(y), int(w), int(h)) for classifier in self._classifiers
                for x, y, w, h in classifier.detectMultiScale(grey, 1.1, 3)]
