"""Long steps: shown while they run, logged, stopped as a whole, explained when they fail."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spinal_dev.paths import LOGS, ROOT, STATE


class DevError(Exception):
    """A failure that one sentence explains; ./dev prints it and exits 1."""


# What tools print when the cause lies outside this repository, and what a user can do about it.
_CAUSES = (
    (('No space left on device', 'os error 28', 'Errno 28'),
     'the disk is full; free at least 6 GB on the disk of this checkout and run ./dev again'),
    (('error sending request', 'Failed to fetch', 'Name or service not known',
      'Temporary failure in name resolution', 'Network is unreachable', 'dns error',
      'Connection refused', 'No matching distribution found for uv', 'timed out'),
     'the package index did not answer; check the network (or PIP_INDEX_URL, UV_INDEX_URL and '
     'the proxy settings) and run ./dev again'),
    (('Hash mismatch', 'THESE PACKAGES DO NOT MATCH THE HASHES', 'EINTEGRITY'),
     'a download does not match its pinned hash; do not use this index, or try again'),
    (('ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'ENETUNREACH'),
     'the npm registry did not answer; check the network (or npm\'s registry and proxy settings) '
     'and run ./dev again'),
)


def explain(output: str) -> str | None:
    """The outside cause that a failed tool's output names, as advice; None when there is none."""
    for signs, advice in _CAUSES:
        if any(sign in output for sign in signs):
            return advice
    return None


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Hold the checkout's install lock, so that two ./dev calls never build the same folder."""
    STATE.mkdir(exist_ok=True)
    with open(STATE / 'lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('./dev: another ./dev prepares this checkout; waiting for it', file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_step(title: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None,
             cwd: Path = ROOT) -> None:
    """Run one command of a longer job; its output goes to a log, its progress to the terminal.

    Raises DevError with the outside cause, or with the log's last lines and its path.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log_path = LOGS / (''.join(c if c.isalnum() else '_' for c in title.lower()) + '.log')
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    print(f'-- {title} ...', end='' if terminal else '\n', file=sys.stderr, flush=True)
    with open(log_path, 'wb') as log:
        process = subprocess.Popen([str(part) for part in command], cwd=cwd, env=env, stdout=log,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1.0)
                if terminal:
                    print(f'\r-- {title} ... {time.monotonic() - started:4.0f} s  '
                          f'{_last_line(log_path):<60.60}', end='', file=sys.stderr, flush=True)
        finally:
            stop_group(process)
    seconds = time.monotonic() - started
    outcome = 'done' if process.returncode == 0 else 'failed'
    start, end = ('\r', ' ' * 60) if terminal else ('', '')
    print(f'{start}-- {title}: {outcome} in {seconds:.1f} s{end}', file=sys.stderr)
    if process.returncode != 0:
        output = log_path.read_text(errors='replace')
        advice = explain(output)
        if advice:
            raise DevError(f'{title}: {advice} (log: {log_path})')
        tail = '\n'.join(output.splitlines()[-15:])
        raise DevError(f'{title} failed with status {process.returncode}; log: {log_path}\n{tail}')


def stop_group(process: 'subprocess.Popen[bytes]', grace_s: float = 10.0) -> None:
    """End a process and every child in its session: interrupt first, kill what stays.

    A child may outlive an interrupted leader (pip under venv does), so the kill always follows.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(path: Path) -> str:
    with open(path, 'rb') as log:
        log.seek(max(0, path.stat().st_size - 400))
        lines = log.read().decode(errors='replace').replace('\r', '\n').strip().splitlines()
    return lines[-1].strip() if lines else ''
