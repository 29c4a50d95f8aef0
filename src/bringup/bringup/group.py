"""A command in a process group of its own that never outlives the one who started it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# Set in the child: the kernel interrupts it when its parent is gone, however that ended. Then
# ros2 launch ends its nodes in order. (The signal follows the thread that forked.) A shell's
# background job hands down an ignored SIGINT, so that it can be interrupted is set as well.
_LEASHED = ('import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, 2); '
            'signal.signal(2, signal.SIG_DFL); '
            'os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execvp(sys.argv[2], sys.argv[2:])')


class Group:
    """Started on entry; interrupted, then killed as a whole, on exit. Output goes to a file."""

    def __init__(self, command: Sequence[str], log: Path,
                 env: Mapping[str, str] | None = None) -> None:
        self._command, self._env = list(command), env
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, 'wb') as log:
            self._process = subprocess.Popen(
                [sys.executable, '-I', '-S', '-c', _LEASHED, str(os.getpid()), *self._command],
                env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    def stop(self, grace_s: float = 12.0) -> None:
        """Interrupt the leader, wait, then kill whatever is left of the group."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log, for an error message."""
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-lines:])
