"""System shared memory between this client and a Triton server on the same machine.

Large inputs are written once, into a region that the server has mapped, instead of travelling
through gRPC. What this module guarantees: **a region is written only when nobody reads it.** A
request that was given up on may wait in the server's queue for seconds and be read then. So only
a good reply frees a region for the next request. After any other end it is retired: never written
again, and destroyed once the server has let go of it (Triton refuses to unregister a region that a
request still uses). Until there is another, requests travel as plain gRPC.

Replies are left in gRPC: they are under 1 KB.

A region is a file in /dev/shm that its owner holds a lock on. The kernel drops the lock with the
process, so the next client finds what a dead one left, also across containers with a /dev/shm in
common, where a process id would mean nothing. The server must run as root or as the same user.
"""

import contextlib
import fcntl
import mmap
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_FOLDER = Path('/dev/shm')
_PREFIX = 'spinal_policy_'
_READY = 2   # regions laid out at once: a request and a probe
_MOST = 4    # regions in service
_RETIRED = 8  # regions that a server may keep from us before we go on without
_OLDEST_SERVER = (2, 51)  # the oldest one that was seen to refuse to unregister a region in use


class Refused(Exception):
    """The server's answer to a request about shared memory, as a sentence."""


class Server(Protocol):
    """The server's side; each call raises Refused, and ends within timeout_s."""

    def version(self, timeout_s: float) -> str: ...
    def register(self, name: str, size: int, timeout_s: float) -> None: ...
    def unregister(self, name: str, timeout_s: float) -> None: ...
    def registered(self, timeout_s: float) -> set[str]: ...


class Region:
    """A file in /dev/shm, mapped here; `name` is its name there and at the server."""

    def __init__(self, size: int) -> None:
        """Raises OSError, also for a /dev/shm that is full (a later write would be SIGBUS)."""
        self.name, self._fd = _create()
        try:
            os.posix_fallocate(self._fd, 0, size)
            self._map = mmap.mmap(self._fd, size)
        except OSError:
            self._unlink()
            raise
        self.size = size
        self.bytes: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        # Who may have it mapped: written under SharedMemory's lock.
        self.registered = self.taken = False

    def destroy(self) -> None:
        self._unlink()
        self.bytes = np.empty(0, np.uint8)
        with contextlib.suppress(BufferError):  # a view is left: the map goes with it
            self._map.close()

    def _unlink(self) -> None:
        if self._fd >= 0:
            (_FOLDER / self.name).unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


class SharedMemory:
    """Regions of one client at one server.

    take, free and lose never wait and may be called from any thread; prepare and close talk to the
    server and belong on a worker thread.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._state = threading.Lock()   # the lists and flags; never held across a call
        self._upkeep = threading.Lock()  # one upkeep at a time; taken before _state
        self._regions: list[Region] = []
        self._retired: list[Region] = []
        self._size = 0
        self._wanted = _READY
        self._refusal = ''
        self._closed = self._checked = False

    @property
    def refusal(self) -> str:
        """Why requests travel as plain gRPC; empty when they do not."""
        return self._refusal

    def take(self, size: int) -> Region | None:
        """A region of at least size bytes that nobody reads; None when there is none now."""
        with self._state:
            for region in self._regions:
                if region.registered and not region.taken and region.size >= size:
                    region.taken = True
                    return region
            if self._regions and all(region.taken for region in self._regions):
                self._wanted = min(_MOST, len(self._regions) + 1)
            return None

    def free(self, region: Region) -> None:
        """The server has answered from this region, and is done with it."""
        with self._state:
            region.taken = False

    def lose(self, region: Region) -> None:
        """What became of the request is not known; the region is never written again."""
        with self._state:
            if region in self._regions:
                self._regions.remove(region)
                self._retired.append(region)

    def forget(self) -> None:
        """The server does not know our regions: it is another one since, or was told to drop
        them."""
        with self._state:
            self._checked = False
            for region in self._regions:
                region.registered = False

    def prepare(self, size: int, timeout_s: float) -> bool:
        """Have regions of size bytes at the server; False with `refusal` where that cannot be.

        Also finishes what was begun: destroys retired regions, registers again after a restart,
        and clears away what dead clients have left.
        """
        limit = time.monotonic() + timeout_s

        def left() -> float:
            return max(0.005, limit - time.monotonic())

        if not self._upkeep.acquire(timeout=timeout_s):
            return not self._refusal
        try:
            if not self._closed:
                self._prepare(size, left)
                self._refusal = ''
        except Refused as reason:
            self._refusal = f'no shared memory: {reason}'
        except OSError as error:
            self._refusal = f'no shared memory: {error.strerror} in {_FOLDER}'
        finally:
            self._upkeep.release()
        return not (self._refusal or self._closed)

    def close(self, timeout_s: float) -> None:
        """Unlink every region; the server is asked to let go of them, for as long as that."""
        limit = time.monotonic() + timeout_s
        with self._upkeep, self._state:
            self._closed = True
            regions, self._regions, self._retired = [*self._regions, *self._retired], [], []
        for region in regions:
            region.destroy()
        while regions and time.monotonic() < limit:
            kept = []
            for region in regions:
                try:
                    self._server.unregister(region.name, 0.1)
                except Refused as reason:
                    if 'in use' not in str(reason):
                        return  # no server, or not ours any more
                    kept.append(region)
            regions = kept
            if kept:
                time.sleep(0.02)

    def _prepare(self, size: int, left: Callable[[], float]) -> None:
        if not self._checked:
            self._check_version(left())
            self._checked = True
        for name in stale():
            self._sweep(name, left())
        known = self._server.registered(left())
        self._release(known, left)
        self._grow(size)
        for region in list(self._regions):
            if region.name not in known:
                self._server.register(region.name, region.size, left())
            with self._state:
                region.registered = True

    def _check_version(self, timeout_s: float) -> None:
        version = self._server.version(timeout_s)
        try:
            major, minor = (int(part) for part in version.split('.')[:2])
        except ValueError:
            raise Refused(f'the server says it is version {version[:20]!r}') from None
        if (major, minor) < _OLDEST_SERVER:
            raise Refused(f'Triton {version} may let go of a region in use; 2.51 does not')

    def _sweep(self, name: str, timeout_s: float) -> None:
        # Refused: the dead client's last request is still read there; the next sweep has it.
        with contextlib.suppress(Refused):
            self._server.unregister(name, timeout_s)
            (_FOLDER / name).unlink(missing_ok=True)

    def _release(self, known: set[str], left: Callable[[], float]) -> None:
        """Destroy the retired regions that the server lets go of."""
        with self._state:
            retired = list(self._retired)
        for region in retired:
            try:
                if region.name in known:
                    self._server.unregister(region.name, left())
            except Refused as reason:
                if 'in use' in str(reason):
                    continue
                raise
            with self._state:
                self._retired.remove(region)
            region.destroy()
        if len(retired) >= _RETIRED and len(self._retired) >= _RETIRED:
            raise Refused(f'the server still reads {len(self._retired)} regions of requests that '
                          'were given up')

    def _grow(self, size: int) -> None:
        with self._state:
            for region in [each for each in self._regions if each.size < size]:
                self._regions.remove(region)
                self._retired.append(region)
            self._size = max(size, self._size)
            lacking = self._wanted - len(self._regions)
        for _ in range(lacking):
            region = Region(self._size)
            with self._state:
                self._regions.append(region)

def stale() -> Iterator[str]:
    """Names of regions whose owner is dead. Each is ours while the caller looks at it."""
    for path in sorted(_FOLDER.glob(f'{_PREFIX}*')):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's, or gone since
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path.name
        except BlockingIOError:
            pass  # its owner lives
        finally:
            os.close(fd)


def _create() -> tuple[str, int]:
    """A new file, locked: (name, descriptor)."""
    while True:
        name = f'{_PREFIX}{os.getpid()}_{secrets.token_hex(6)}'
        fd = os.open(_FOLDER / name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return name, fd
        except BlockingIOError:
            pass  # a sweep was between our two calls, and takes the file away
        os.close(fd)
