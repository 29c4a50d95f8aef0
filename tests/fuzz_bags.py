"""Truncated, flipped, reordered and lying MCAP files into all of the recorder that reads one.

    ./dev shell python tests/fuzz_bags.py --inputs 5000 [--seed 1]

Each input is a bag that the recorder's writer made (zstd, lz4 or none), with injuries
(bag_damage.py): cut at any byte, bits flipped, records doubled, dropped, exchanged, lengths and
counts that are lies; within chunks too, with true checksums behind. It goes through

    recovery.rebuild          never an exception; what it writes is read by mcap and rosbags; of a
                              file that was only cut, a prefix of what was in it
    Spool.recover             as a crash left it, its draft sometimes damaged too: a case or .broken
    bag_messages.Bag          messages, or BagError in one sentence
    trigger_replay, report    the same
    spool_view                never an exception, with a damaged manifest too

Each within 30 s, and within 64 MB of more memory than before. `Subject.bomb` is for chunks that
unpack to far more than they claim.
"""

import io
import json
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import bag_damage
import fuzz_command
import psutil
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from edge_case_recorder import manifest
from edge_case_recorder.bag_messages import Bag, BagError
from edge_case_recorder.recovery import rebuild
from edge_case_recorder.report import samples
from edge_case_recorder.rules import default_rules
from edge_case_recorder.spool import Spool, State, cases
from edge_case_recorder.spool_view import SpoolReader
from edge_case_recorder.trigger_replay import replay
from edge_case_recorder.triggers import Trigger

MOST_GROWTH_MB = 16.0
MOST_PEAK_MB = 64.0
_HANG_S = 30
_ROOM_BYTES = 6 << 30
_TOPICS = '/cmd_vel', '/scan', '/safety/state', '/task'


class RuleBroken(AssertionError):
    """A rule of this script does not hold."""


class Hangs(BaseException):
    """No Exception, so that nobody who catches everything catches it."""


class Subject:
    """One seed's fuzzing in a folder: damaged files in turn, and what came of them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._random = Random(seed)
        self._folder = folder
        self._number = 0
        self._bags = [bag_damage.a_bag(folder / f'whole_{each}', each).read_bytes()
                      for each in bag_damage.COMPRESSIONS]
        self._whole = [_read(data) for data in self._bags]
        self.counts: Counter[str] = Counter()
        self.last = b''

    def turn(self) -> None:
        """One input; raises RuleBroken, or whatever should not have been raised."""
        kind = self._random.randrange(len(self._bags))
        is_cut = self._random.random() < 0.4
        damage = bag_damage.truncated if is_cut else bag_damage.damaged
        self.last = damage(self._random, self._bags[kind])
        self.feed(self.last, self._whole[kind] if is_cut else None)

    def bomb(self, compression: str, size: int, claimed: int, is_indexed: bool) -> None:
        """A chunk that unpacks to so many bytes, and claims another size."""
        kind = bag_damage.COMPRESSIONS.index(compression)
        self.last = bag_damage.bomb(self._bags[kind], compression, size, claimed,
                                    is_indexed)
        self.feed(self.last, None)

    def feed(self, data: bytes, whole: list[Any] | None) -> None:
        """One file through everything; whole: what a prefix of is expected, if it was only cut."""
        self._number += 1
        work = self._folder / str(self._number)
        work.mkdir()
        try:
            self._rebuild(data, whole, work / 'rebuilt')
            self._recover(data, work / 'spool')
            path = work / 'case_0.mcap'
            path.write_bytes(data)
            self._reads('messages', lambda: list(Bag(path).messages(_TOPICS)), path)
            self._reads('replay', lambda: replay(path, default_rules(1.0, 1.0)), path)
            self._reads('report', lambda: samples.read(path, None), path)
        finally:
            shutil.rmtree(work)

    def _rebuild(self, data: bytes, whole: list[Any] | None, folder: Path) -> None:
        folder.mkdir()
        damaged = folder / 'damaged.mcap'
        damaged.write_bytes(data)
        summary = rebuild(damaged, folder, 'case')
        got = _read((folder / 'case_0.mcap').read_bytes())
        _must(len(got) == summary.messages, f'{summary.messages} counted, {len(got)} are there')
        if whole is not None:
            _must(got == whole[:len(got)], 'what was rebuilt is no prefix of what was cut')
        self.counts['rebuilt' if got else 'rebuilt nothing'] += 1
        damaged.unlink()
        if got:
            with Reader(folder) as reader:
                _must(sum(1 for _ in reader.messages()) == len(got), 'rosbags reads another number')

    def _recover(self, data: bytes, root: Path) -> None:
        spool = Spool(root, 0)
        spool.open()
        try:
            trigger = Trigger('stop', 'robot', 'stop', ('stop',), 0, 10 ** 9, 10 ** 9, 50, {})
            draft = manifest.draft(robot_id='robot', robot='amr', trigger=trigger,
                                   stamp_ns=bag_damage.START_NS, software={}, models={})
            folder = spool.begin(draft)
            (folder / f'{draft["case_id"]}_0.mcap').write_bytes(data)
            if self._random.random() < 0.2:
                self._injure(folder / 'draft.json')
            self._look(root)
            recovered = list(spool.recover())
            [case] = cases(root)
            _must(case.state in (State.RECORDED, State.BROKEN), f'it is {case.state}')
            _must((case.state is State.RECORDED) == bool(recovered), 'not what recover says')
            if recovered:
                content = manifest.read(case.folder)
                _must(all(manifest.describe(case.folder / entry['path']) == entry
                          for entry in content['files']), 'files differ from the manifest')
                if self._random.random() < 0.3:
                    self._injure(case.folder / manifest.MANIFEST)
            self.counts[str(case.state)] += 1
            self._look(root)
        finally:
            spool.close()

    def _injure(self, path: Path) -> None:
        """A JSON file, as bytes or as a value of another kind."""
        text = path.read_bytes()
        try:
            content = json.loads(text)
            content[self._random.choice(list(content))] = self._random.choice(
                (None, [], {}, 'x', -1, 1e308, True, ['x'] * 3, 1 << 80))
            other = json.dumps(content).encode()
        except ValueError:
            other = b'[]'
        path.write_bytes(self._random.choice(
            (bag_damage.truncated(self._random, text), other, other, b'[' * 5000)))

    def _look(self, root: Path) -> None:
        view = SpoolReader(root).look()
        _must(len(view.cases) == 1, f'{len(view.cases)} cases are shown')

    def _reads(self, what: str, action: Callable[[], Any], path: Path) -> None:
        try:
            action()
        except BagError as error:
            sentence = str(error)
            _must('\n' not in sentence and len(sentence) < 600, f'{what}: {sentence[:700]!r}')
            _must(str(path) in sentence, f'{what} does not say which file: {sentence!r}')
            _must(not sentence.rstrip().endswith(':'), f'{what} does not say why: {sentence!r}')
            self.counts[f'{what} refused'] += 1
        else:
            self.counts[f'{what} read'] += 1


def _read(data: bytes) -> list[tuple[str, int, bytes]]:
    return [(channel.topic, message.log_time, message.data)
            for _, channel, message in make_reader(io.BytesIO(data)).iter_messages(
                log_time_order=False)]


def _must(holds: bool, sentence: str) -> None:
    if not holds:
        raise RuleBroken(sentence)


@contextmanager
def guarded(most_peak_mb: float) -> Iterator[None]:
    """Raises Hangs after 30 s, and RuleBroken when more memory was needed meanwhile."""
    def on_alarm(*_: object) -> None:
        raise Hangs(f'no end within {_HANG_S} s')
    Path('/proc/self/clear_refs').write_text('5')
    before_mb = _peak_mb()
    former = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(_HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
    _must(_peak_mb() - before_mb <= most_peak_mb,
          f'{_peak_mb() - before_mb:.0f} MB were needed, {most_peak_mb:g} are the limit')


@contextmanager
def little_room() -> Iterator[None]:
    """At most 6 GiB more of addresses: what asks for all of the memory gets a MemoryError."""
    former = resource.getrlimit(resource.RLIMIT_AS)
    now = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (now + _ROOM_BYTES, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, former)


def _peak_mb() -> float:
    """The most that was resident since the mark was reset, from proc(5)."""
    status = Path('/proc/self/status').read_text()
    return float(status.partition('VmHWM:')[2].split()[0]) * 1024 / 1e6


def fuzz(seed: int, number: int, save: Path | None = None) -> dict[str, Any]:
    """So many inputs; raises at the first that breaks a rule."""
    process, rss, begin = psutil.Process(), [], time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix='fuzz_bags_'))
    try:
        subject = Subject(seed, folder)
        with little_room():
            for sent in range(number):
                try:
                    with guarded(MOST_PEAK_MB):
                        subject.turn()
                except BaseException as problem:
                    problem.add_note(f'seed {seed}, input {sent}, {len(subject.last)} bytes')
                    if save is not None:
                        save.mkdir(parents=True, exist_ok=True)
                        (save / f'bag-seed_{seed}_{sent}.mcap').write_bytes(subject.last)
                    raise
                if sent * 10 >= number * (len(rss) + 1):
                    rss.append(process.memory_info().rss)
    finally:
        shutil.rmtree(folder)
    seconds = time.monotonic() - begin
    return {'inputs': number, 'seconds': round(seconds, 1), 'inputs_per_s': round(number / seconds),
            'rss_mb': [round(each / 1e6, 1) for each in rss],
            'rss_growth_mb': round((rss[-1] - rss[0]) / 1e6, 2) if rss else 0.0,
            'counts': dict(sorted(subject.counts.items()))}


def main() -> None:
    fuzz_command.run(__doc__.partition('\n')[0], fuzz, inputs=3000, most_growth_mb=MOST_GROWTH_MB)


if __name__ == '__main__':
    main()
