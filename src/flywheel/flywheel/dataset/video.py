"""H.264 in MP4, the same bytes for the same frames: one thread, fixed settings, no dates.

Encoded by libx264, which the wheels of PyAV bring (GPL; PyAV itself is BSD). Its bytes are the same
on each run of one build; another build may differ, so a data set also has a digest of its source
pictures.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError

CODEC, PIXELS = 'h264', 'yuv420p'
# cpu-independent: the same decisions whatever SIMD the processor has.
_X264 = 'threads=1:lookahead-threads=1:sliced-threads=0:cpu-independent=1:deterministic=1'
_OPTIONS = {'crf': '20', 'preset': 'veryfast', 'x264-params': _X264, 'g': '10', 'bf': '0'}


def write(path: Path, parts: Sequence[NDArray[np.uint8]], fps: int) -> None:
    """parts: one after the other, each (n, height, width, 3) RGB; both sides are even.

    Raises DatasetError.
    """
    import av
    count = sum(len(part) for part in parts)
    height, width = parts[0].shape[1:3] if parts else (0, 0)
    if not count or height % 2 or width % 2:
        raise DatasetError(f'{path}: {count} frames of {width}x{height}: at least one, of even '
                           'sides, is needed')
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(path), 'w', format='mp4', options={'fflags': '+bitexact'}) as container:
            stream = container.add_stream('libx264', rate=fps, options=_OPTIONS)
            stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
            stream.codec_context.thread_count = 1
            stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
            for number, frame in enumerate(chain.from_iterable(parts)):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')
                picture.pts, picture.time_base = number, Fraction(1, fps)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    except (av.FFmpegError, OSError) as error:
        raise DatasetError(f'{path}: cannot be encoded: {error}') from None


def frames(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(time in s, picture (height, width, 3) RGB) of each decoded frame; raises DatasetError."""
    import av
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DatasetError(f'{path}: has no video stream')
            for frame in container.decode(container.streams.video[0]):
                yield (float(frame.time or 0.0),
                       np.asarray(frame.to_ndarray(format='rgb24'), np.uint8))
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f'{path}: is no video that can be decoded: {error}') from None


def times(path: Path) -> tuple[str, tuple[int, int], list[float]]:
    """(codec, (height, width), time in s of each decoded frame); raises DatasetError."""
    import av
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DatasetError(f'{path}: has no video stream')
            stream = container.streams.video[0]
            found = [float(frame.time or 0.0) for frame in container.decode(stream)]
            return (stream.codec_context.name.removeprefix('lib'),
                    (stream.height, stream.width), found)
    except (av.FFmpegError, OSError) as error:
        raise DatasetError(f'{path}: is no video that can be decoded: {error}') from None
