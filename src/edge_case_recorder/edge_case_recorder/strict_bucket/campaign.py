"""The real uploader process against a strict bucket: killed at random points, and timed at its cap.

For tests and benches; both make their cases themselves.
"""

import bisect
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_case_recorder import manifest
from edge_case_recorder.spool import State, cases
from edge_case_recorder.strict_bucket.ledger import Again, sent_again
from edge_case_recorder.strict_bucket.server import StrictBucket

PREFIX = 'fleet'
_LINK_BYTES_S = 10e6
_LAST_ROUND_S = 120.0


@dataclass(frozen=True)
class UploadKills:
    """Figures of a campaign. All bytes are of objects.

    cut: requests that a kill broke off. lost: cases of the spool that are not in the bucket with
    equal bytes, and ones that were marked as uploaded and no longer are. duplicates: objects that
    came to be more than once, or that nobody asked for. beyond_chunk: kills after which more than
    one chunk of an object was sent again. recovery_s_max: from a process's start to its first
    request.
    """

    tried: int
    cut: int
    cases: int
    bytes: int
    again_bytes: int
    again_bytes_max: int
    beyond_chunk: int
    lost: int
    duplicates: int
    recovery_s_max: float


def start_uploader(strict: StrictBucket, spool: Path, *more: str) -> subprocess.Popen[str]:
    """The process; its output is piped."""
    return subprocess.Popen(
        [sys.executable, '-m', 'edge_case_recorder.uploader', '--spool', str(spool),
         '--bucket', f'{strict.uri}/{PREFIX}', '--poll', '0.05', *more],
        env=os.environ | strict.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)


def end(process: subprocess.Popen[str]) -> None:
    """kill -9, and nothing of it is left."""
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Wait for a condition; False when the limit came first."""
    limit = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


def kill_uploads(strict: StrictBucket, spool: Path, new_case: Callable[[random.Random], Path],
                 kills: int, seed: int = 17, patience_s: float = 30.0) -> UploadKills:
    """Kill so many uploaders, each at a random moment after it was first heard of.

    Half of the times the machine's power goes too: what the kernel still had to send is lost. Then
    one uploader carries the rest. new_case: records another case in the spool, any size.
    Raises TimeoutError when a process is not heard of within patience_s.
    """
    chance = random.Random(seed)
    strict.rate_bytes_s = _LINK_BYTES_S
    folders: list[Path] = []
    recovery_s_max, withdrawn = 0.0, 0
    killed_at: list[int] = []
    for _ in range(kills):
        while State.RECORDED not in _states(spool) or chance.random() < 0.3:
            folders.append(new_case(chance))
        done = _uploaded(spool)
        heard, began_s = strict.heard, time.monotonic()
        process = start_uploader(strict, spool)
        try:
            if not until(lambda heard=heard: strict.heard > heard, patience_s):  # type: ignore[misc]
                raise TimeoutError(f'the uploader asked for nothing within {patience_s:g} s')
            recovery_s_max = max(recovery_s_max, time.monotonic() - began_s)
            # Short waits hit the beginning of things, long ones the middle of large objects.
            strict.closing.wait(chance.choice((0.05, 1.0)) * chance.random())
        finally:
            if chance.random() < 0.5:
                strict.sever()
            end(process)
        killed_at.append(len(strict.rules.arrivals))
        withdrawn += len(done - _uploaded(spool))
    strict.rate_bytes_s = None
    last = start_uploader(strict, spool, '--once')
    try:
        last.wait(_LAST_ROUND_S)
    finally:
        end(last)
    return _figures(strict, folders, killed_at, withdrawn, recovery_s_max)


def cap_ratio(strict: StrictBucket, spool: Path, limit_bytes_s: float,
              seconds: float = 12.0) -> float:
    """The busiest ten seconds of a capped uploader, as a share of the cap.

    The spool must have more than seconds x limit_bytes_s waiting. The first second is left out: a
    bucket of tokens begins full.
    """
    process = start_uploader(strict, spool, '--limit', str(limit_bytes_s))
    try:
        if not until(lambda: bool(strict.bytes_at) and strict.bytes_at[-1][0]
                     - strict.bytes_at[0][0] > seconds, 3.0 * seconds):
            raise TimeoutError('the uploader did not send for so long; is the spool empty?')
    finally:
        end(process)
    first_s = strict.bytes_at[0][0]
    settled = [each for each in strict.bytes_at if each[0] >= first_s + 1.0]
    return most_in_any(settled, 10.0) / (10.0 * limit_bytes_s)


def most_in_any(passed: list[tuple[float, int]], window_s: float) -> int:
    """The most bytes within any window of so many seconds. passed: (time, bytes) in order."""
    most = first = total = 0
    for at_s, count in passed:
        total += count
        while passed[first][0] <= at_s - window_s:
            total -= passed[first][1]
            first += 1
        most = max(most, total)
    return most


def _figures(strict: StrictBucket, folders: list[Path], killed_at: list[int], withdrawn: int,
             recovery_s_max: float) -> UploadKills:
    expected = {name: data for folder in folders for name, data in _objects(folder).items()}
    lost = sum(any(strict.rules.objects.get(name) != data
                   for name, data in _objects(folder).items()) for folder in folders)
    again = sent_again(strict.rules.arrivals, sessions_last=True)
    return UploadKills(
        tried=len(killed_at), cut=sum(each.status == 0 for each in strict.rules.arrivals),
        cases=len(folders), bytes=sum(len(data) for data in strict.rules.objects.values()),
        again_bytes=sum(each.bytes for each in again),
        again_bytes_max=max((each.bytes for each in again), default=0),
        beyond_chunk=_beyond_chunk(again, killed_at), lost=lost + withdrawn,
        duplicates=sum(count > 1 for count in strict.rules.created.values())
        + len(strict.rules.objects.keys() - expected.keys()), recovery_s_max=recovery_s_max)


def _beyond_chunk(again: list[Again], killed_at: list[int]) -> int:
    """How often more than a chunk of one object was sent again between one kill and the next."""
    repeated: Counter[tuple[int, str]] = Counter()
    chunk: Counter[tuple[int, str]] = Counter()
    for each in again:
        life = bisect.bisect_right(killed_at, each.at), each.name
        repeated[life] += each.bytes
        chunk[life] = max(chunk[life], each.chunk)
    return sum(repeated[life] > chunk[life] for life in repeated)


def _objects(folder: Path) -> dict[str, bytes]:
    """What a case is in the bucket, by name."""
    content = manifest.read(folder)
    below = f'{PREFIX}/{manifest.object_folder(content)}'
    names = [entry['path'] for entry in content['files']] + [manifest.MANIFEST]
    return {f'{below}/{name}': (folder / name).read_bytes() for name in names}


def _states(spool: Path) -> set[State]:
    return {case.state for case in cases(spool)}


def _uploaded(spool: Path) -> set[str]:
    return {case.id for case in cases(spool) if case.state is State.UPLOADED}
