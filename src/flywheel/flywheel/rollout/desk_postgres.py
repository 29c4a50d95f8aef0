"""A PostgreSQL on a desk: Debian's own server over a temporary folder, on a Unix socket.

It refuses to run as root; then it runs as Debian's user `postgres`. No password, no network: only
who may enter the folder of its socket can connect.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

_USER = 'postgres'


class DeskPostgresError(RuntimeError):
    """The server could not be started; the message says why."""


def binaries() -> Path | None:
    """The folder of initdb and postgres: on the PATH, or where Debian puts it; the newest."""
    found = shutil.which('initdb')
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'),
                     key=lambda each: int(each.parts[-3]) if each.parts[-3].isdigit() else 0)
    return folders[-1].parent if folders else None


def missing() -> str:
    """Why there is none here, one sentence; empty if there is."""
    if binaries() is None:
        return 'PostgreSQL is not installed here (Debian: apt-get install postgresql)'
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(_USER)
        except KeyError:
            return f'PostgreSQL does not run as root, and there is no user {_USER} here'
    return ''


class DeskPostgres:
    """One server with databases of its own; nothing stays of it. Use it as a context manager."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix='desk_postgres_'))
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Raises DeskPostgresError."""
        if reason := missing():
            raise DeskPostgresError(reason)
        folder, tools = self._folder, binaries()
        assert tools is not None
        if os.geteuid() == 0:
            shutil.chown(folder, _USER, _USER)
        self._run([str(tools / 'initdb'), '-D', str(folder / 'data'), '-U', _USER, '-A', 'trust',
                   '--no-locale', '-E', 'UTF8', '--no-instructions'])
        with open(folder / 'log', 'wb') as log:
            self._process = subprocess.Popen(
                [str(tools / 'postgres'), '-D', str(folder / 'data'), '-k', str(folder),
                 '-c', 'listen_addresses='], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, **self._as())
        # pg_ctl and pg_isready ask in a loop, as long as it starts.
        self._run([str(tools / 'pg_ctl'), 'status', '-D', str(folder / 'data')], tries=100)
        self._run([str(tools / 'psql'), '-h', str(folder), '-U', _USER, '-c', 'SELECT 1'],
                  tries=100)
        return self

    def new_database(self) -> str:
        """The URL of an empty one."""
        self._databases += 1
        name = f'fleet{self._databases}'
        tools = binaries()
        assert tools is not None
        self._run([str(tools / 'createdb'), '-h', str(self._folder), '-U', _USER, name])
        return f'postgresql://{_USER}@/{name}?host={self._folder}'

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)      # a fast shutdown
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, command: list[str], tries: int = 1) -> None:
        """tries: a client that comes too early waits for 0.1 s and asks again."""
        for attempt in range(tries):
            done = subprocess.run(command, capture_output=True, check=False, cwd=self._folder,
                                  **self._as())
            if done.returncode == 0:
                return
            if self._process is not None and self._process.poll() is not None:
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                if attempt + 1 < tries and self._process is not None:
                    self._process.wait(0.1)
        words = (done.stderr or done.stdout).decode(errors='replace').strip().splitlines()
        raise DeskPostgresError(f'{Path(command[0]).name}: {words[-1] if words else "it failed"}')

    @staticmethod
    def _as() -> dict[str, Any]:
        return {'user': _USER, 'group': _USER} if os.geteuid() == 0 else {}
