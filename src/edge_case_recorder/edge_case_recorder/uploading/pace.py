"""How fast: a cap in bytes per second, and chunks of a fixed time whatever the link is."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge_case_recorder.sealing import SealError, open_plain
from edge_case_recorder.site_key import Key
from edge_case_recorder.uploading.protocol import QUANTUM
from edge_case_recorder.uploading.trouble import StoreError, Trouble

_SLICE_S = 0.05
_SMALLEST_SLICE = 1 << 10
_LARGEST_SLICE = 64 << 10


class TokenBucket:
    """A cap over any window: in T seconds at most limit x (T + burst_s) and one slice.

    burst_s: how much of a pause (a reply on its way) may be made up for; 0.25 s of 10 s is 2.5 %.
    """

    def __init__(self, limit_bytes_s: float, now_s: float, burst_s: float = 0.25) -> None:
        if not limit_bytes_s > 0.0:
            raise ValueError(f'a cap of {limit_bytes_s} bytes/s: must be above 0')
        self.limit_bytes_s = limit_bytes_s
        self._burst = limit_bytes_s * burst_s
        self._level = self._burst
        self._at_s = now_s

    @property
    def slice_bytes(self) -> int:
        """How much to take at once so that the flow is even."""
        return int(min(max(self.limit_bytes_s * _SLICE_S, _SMALLEST_SLICE), _LARGEST_SLICE))

    def take(self, count: int, now_s: float) -> float:
        """Take so many bytes; how many seconds to wait before they may be sent."""
        elapsed = max(now_s - self._at_s, 0.0)
        self._level = min(self._burst, self._level + elapsed * self.limit_bytes_s) - count
        self._at_s = now_s
        return max(-self._level / self.limit_bytes_s, 0.0)


class Body:
    """The body of a request: a piece of a file between two strings, read as the cap allows.

    Reads at most one slice at a time, so neither memory nor the link sees a whole chunk at once.
    A sealed file is unsealed as it is read (keys): places and bytes are the plaintext's.
    Raises OSError; StoreError of DAMAGED where a sealed file was changed.
    """

    def __init__(self, path: Path, first: int, end: int, *, before: bytes = b'', after: bytes = b'',
                 cap: TokenBucket | None = None, steady_s: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], object] = time.sleep,
                 keys: Sequence[Key] = ()) -> None:
        self._length = len(before) + (end - first) + len(after)
        self._before, self._after = before, after
        self._left = end - first
        self._path = path
        with _damage_told():
            self._file = open_plain(path, keys)
        self._file.seek(first)
        self._cap, self._steady_s, self._sleep = cap, steady_s, sleep

    def __len__(self) -> int:
        return self._length

    def read(self, count: int = -1) -> bytes:
        """The next bytes, at most count and at most a slice; empty at the end."""
        most = self._cap.slice_bytes if self._cap else _LARGEST_SLICE
        data = self._next(most if count is None or count < 0 else min(count, most))
        if data and self._cap:
            wait_s = self._cap.take(len(data), self._steady_s())
            if wait_s > 0.0:
                self._sleep(wait_s)
        return data

    def close(self) -> None:
        self._file.close()

    def _next(self, count: int) -> bytes:
        if self._before:
            data, self._before = self._before[:count], self._before[count:]
            return data
        if self._left:
            with _damage_told():
                data = self._file.read(min(count, self._left))
            # A file that was cut short ends the request too early: the server waits in vain.
            if not data:
                raise OSError(f'{self._path} became shorter while it was sent')
            self._left -= len(data)
            return data
        data, self._after = self._after[:count], self._after[count:]
        return data


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except SealError as error:
        raise StoreError(Trouble.DAMAGED, str(error)) from error


class ChunkSize:
    """Chunks that take about target_s each: a failure, a kill or an urgent case costs no more.

    Multiples of 256 KiB. Grows at most twofold with each chunk that arrives, halves with each that
    does not. At 1 Mbit/s the smallest one takes 2.1 s.
    """

    def __init__(self, first: int = 2 << 20, largest: int = 8 << 20, target_s: float = 4.0) -> None:
        self.bytes = first
        self._largest = largest
        self._target_s = target_s

    def arrived(self, count: int, seconds: float) -> None:
        """A chunk of count bytes and its reply took so long."""
        if count < QUANTUM:
            return      # too short to tell a rate from a round trip
        wanted = count / max(seconds, 1e-3) * self._target_s
        self.bytes = _quantised(min(wanted, 2 * self.bytes, self._largest))

    def failed(self) -> None:
        self.bytes = _quantised(self.bytes / 2)


def _quantised(wanted: float) -> int:
    return max(int(wanted) // QUANTUM, 1) * QUANTUM
