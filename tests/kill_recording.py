"""kill -9, and power cuts, at any point of recording, recovering and evicting.

    ./dev shell python tests/kill_recording.py --kills 200 [--seed 1]
    ./dev shell python tests/kill_recording.py --steps [--posix]

Random: one spool, and one life of the recorder after the other: each recovers what the last one
left, records overlapping and merging cases from two streams into a spool that is nearly full, and
is killed: at a random moment, while it recovers, or at a random step of the disk. Half of the kills
are power cuts: what was not synchronised is gone, or torn (kill_disk.py).
Systematic (--steps): a small spool is recorded into once for each step (write, fsync, rename,
mkdir, remove) that the writing thread takes, and the process dies at that step, a write half done.

After each kill (kill_checks.py): every finished case is read by `mcap` and `rosbags`, its files
have the digests and its bag the counts of its manifest; all that was announced is there, or in
evictions.jsonl; all that was flushed is in its case, byte by byte and in order; a case that was
begun is there once, or is broken and says why. Exit status 1 when anything of this does not hold.
"""

import argparse
import json
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from kill_checks import Found, Promises
from kill_disk import Disk

from edge_case_recorder.spool import State, cases, mark

_CHILD = str(Path(__file__).with_name('kill_child.py'))
_PATIENCE_S = 30.0
_ROOMY = 1 << 40


class Life:
    """One process, and all that it said until it was gone."""

    def __init__(self, job: dict[str, Any], disk: Disk, promises: Promises) -> None:
        self._disk, self._promises = disk, promises
        self.heard: Counter[str] = Counter()
        self.last: dict[str, dict[str, Any]] = {}
        self._rest = b''
        self.began_s = time.monotonic()
        self._process = subprocess.Popen([sys.executable, _CHILD, json.dumps(job)],
                                         stdout=subprocess.PIPE, bufsize=0)

    def until(self, what: str, limit_s: float) -> bool:
        """Listen until the process says so; False when the time is over or the process is."""
        limit_s += time.monotonic()
        while not self.heard[what]:
            left_s = limit_s - time.monotonic()
            if left_s <= 0 or not self._listen(left_s):
                return False
        return True

    def kill(self) -> float:
        """kill -9, and hear what it still had said; when it was gone, in monotonic seconds."""
        self._process.kill()
        self._process.wait()
        gone_s = time.monotonic()
        while self._listen(1.0):
            pass
        assert self._process.stdout is not None
        self._process.stdout.close()
        return gone_s

    def _listen(self, limit_s: float) -> bool:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], limit_s)[0]:
            return True
        data = self._process.stdout.read(1 << 16)
        *lines, self._rest = (self._rest + data).split(b'\n')
        for line in map(json.loads, lines):
            self.heard[line['what']] += 1
            self.last[line['what']] = line
            self._disk.hear(line)
            self._promises.hear(line)
        return bool(data)


class Campaign:
    """Kills after kills of recorders of one spool; `found` says what did not hold."""

    def __init__(self, folder: Path, seed: int, posix: bool = False) -> None:
        self.root = folder / 'spool'
        self.root.mkdir(parents=True)
        self._shadow = folder / 'shadow'
        self._chance = Random(seed)
        self.disk = Disk(self.root, self._shadow, posix)
        self.promises, self.found = Promises(), Found()
        self.recovery_s: list[float] = []
        self.kinds: Counter[str] = Counter()
        self.unflushed_s = 0.0
        self.unbegun_s = 0.0
        self.tried = 0

    def random_kill(self) -> None:
        """One life and its end. Raises TimeoutError when it does not come to itself."""
        chance = self._chance
        kind = chance.choice(('moment', 'moment', 'recovering', 'step'))
        life = self._begin(fatal=int(chance.expovariate(1 / 60)) + 1 if kind == 'step' else 0,
                           capacity=chance.choice((3_000_000, 6_000_000, _ROOMY)),
                           evict_unsent=chance.random() < 0.5)
        if kind == 'recovering':
            life.until('opened', _PATIENCE_S)
            life.until('recovered', 0.1 * chance.random())
        else:
            self._recovered(life)
            life.until('gone', chance.choice((0.3, 1.2)) * chance.random()
                       if kind == 'moment' else 5.0)
        self._end(life, kind, chance.choice(('', '', 'strict', 'torn')))
        self._send_some()

    def step_kill(self, fatal: int, cut: str) -> bool:
        """Two rounds of triggers, dead at the given step; False when there is no such step."""
        life = self._begin(fatal=fatal, rounds=2, capacity=1_500_000, evict_unsent=True)
        died = not life.until('ended', _PATIENCE_S)
        self._end(life, str(life.last.get('step', {}).get('kind', 'none')), cut)
        return died

    def last_life(self) -> None:
        """Everything is recovered, and looked at."""
        life = self._begin(rounds=0, capacity=_ROOMY)
        self._recovered(life)
        life.until('ended', _PATIENCE_S)
        life.kill()
        self.found.look(self.root, self.promises, finally_=True)

    def _begin(self, fatal: int = 0, rounds: int = -1, capacity: int = _ROOMY,
               evict_unsent: bool = False) -> Life:
        self.disk.settle()
        return Life({'root': str(self.root), 'shadow': str(self._shadow), 'fatal': fatal,
                     'seed': self._chance.randrange(1 << 30), 'rounds': rounds,
                     'capacity': capacity, 'evict_unsent': evict_unsent,
                     'compression': self._chance.choice(('zstd', 'lz4', 'none'))},
                    self.disk, self.promises)

    def _recovered(self, life: Life) -> None:
        if life.until('recovered', _PATIENCE_S):
            self.recovery_s.append(life.last['recovered']['at_s'] - life.began_s)
        elif not life.heard['step']:
            life.kill()
            raise TimeoutError(f'nothing was recovered in {_PATIENCE_S:g} s')

    def _end(self, life: Life, kind: str, cut: str) -> None:
        flushing = life.last.get('flushed', {}).get('at_s')
        gone_s = life.kill()
        self.tried += 1
        self.kinds[f'{kind}, {cut or "process only"}'] += 1
        if flushing and any(case.state is State.PARTIAL for case in cases(self.root)) and \
                kind == 'moment':
            last_s = max(flushing, life.last['flushed']['at_s'])
            self.unflushed_s = max(self.unflushed_s, gone_s - last_s)
        # A trigger waits in memory for the writer: that is what a kill may cost.
        if life.heard['recovered'] and not life.heard['step']:
            waiting = [gone_s - at_s for case, at_s in self.promises.accepted.items()
                       if at_s > life.began_s and case not in self.promises.begun]
            self.unbegun_s = max(self.unbegun_s, *waiting, 0.0)
        if cut:
            self.disk.cut(self._chance, torn=cut == 'torn')
        self.found.look(self.root, self.promises)

    def _send_some(self) -> None:
        """In the uploader's place: a third of what waits is sent."""
        for case in cases(self.root):
            if case.state is State.RECORDED and self._chance.random() < 0.3:
                mark(case.folder, State.UPLOADED, {'url': 'file:///nowhere'})

    def figures(self) -> dict[str, Any]:
        found, promises = self.found, self.promises
        return {'tried': self.tried, 'unreadable': len(found.unreadable),
                'lost_cases': len(found.lost), 'duplicates': len(found.duplicates),
                'recovery_s_max': round(max(self.recovery_s, default=0.0), 3),
                'accepted': len(promises.accepted),
                'begun': len(promises.begun),
                'unbegun': len(promises.accepted.keys() - promises.begun),
                'unbegun_s_max': round(self.unbegun_s, 3),
                'announced': len(promises.announced), 'checked': len(found.checked),
                'recovered': len(found.recovered), 'broken': len(found.broken),
                'unflushed_s_max': round(self.unflushed_s, 3),
                'kinds': dict(sorted(self.kinds.items())),
                'said': dict(promises.said.most_common(8)),
                'problems': [*found.unreadable, *found.lost, *found.duplicates][:20]}


def kill_at_random(folder: Path, kills: int, seed: int, posix: bool = False) -> dict[str, Any]:
    """The campaign's figures; the spool is made in folder. Raises TimeoutError."""
    campaign = Campaign(folder, seed, posix)
    for _ in range(kills):
        campaign.random_kill()
    campaign.last_life()
    return campaign.figures()


def kill_at_steps(folder: Path, seed: int, every: int = 1, posix: bool = False) -> dict[str, Any]:
    """Die at each `every`-th step; kills of the process, strict and torn power cuts in turn.

    The spool goes on from one step to the next: so each life first recovers what the last one left,
    and the first steps are those of recovery.
    """
    campaign = Campaign(folder, seed, posix)
    for fatal in _steps(seed, every):
        if not campaign.step_kill(fatal, ('', 'strict', 'torn')[campaign.tried % 3]):
            break
    campaign.last_life()
    return campaign.figures()


def _steps(seed: int, every: int) -> Iterator[int]:
    return iter(range(1 + seed % every, 10_000, every))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--steps', action='store_true', help='at each step instead of at random')
    parser.add_argument('--every', type=int, default=1, help='with --steps: at every n-th only')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--posix', action='store_true', help='fsync of a file keeps no name')
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix='kill_recording_'))
    try:
        figures = (kill_at_steps(folder, options.seed, options.every, options.posix)
                   if options.steps else
                   kill_at_random(folder, options.kills, options.seed, options.posix))
    finally:
        shutil.rmtree(folder)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f'{name}: {value}')
    return 1 if figures['problems'] else 0


if __name__ == '__main__':
    sys.exit(main())
