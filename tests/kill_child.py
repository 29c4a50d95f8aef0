"""The process that tests/kill_recording.py kills: the real ring, worker and spool, without ROS.

It says on its standard output, one JSON line each, what it promised: triggers that were accepted,
cases that were begun, flushed and announced, and what was synchronised with the disk. A line that
was written before the kill is heard after it.

    python kill_child.py '{"root": ..., "shadow": ..., "seed": 1, "fatal": 0, "rounds": -1, ..}'
"""

import builtins
import io
import json
import os
import signal
import stat
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.qos import Qos
from edge_case_recorder.ring import Ring
from edge_case_recorder.spool import Spool
from edge_case_recorder.triggers import Trigger
from edge_case_recorder.worker import CaseRefused, Identity, Worker

FLUSH_S = 0.1
S = 1_000_000_000
_WRITER = 'case_writer'
_LATCHED = Qos(durability='transient_local')
TOPICS = {name: TopicInfo(name, 'std_msgs/msg/String', '', 'string data\n', (qos,))
          for name, qos in (('/scan', Qos()), ('/camera', Qos()), ('/task', _LATCHED))}


def say(what: str, **facts: Any) -> None:
    """One line; a pipe takes it whole or not at all."""
    os.write(1, (json.dumps({'what': what} | facts) + '\n').encode())


class Steps:
    """Counts what the writing thread asks of the disk, and dies at one of these steps.

    A step is a write, an fsync, or anything that changes names. A fatal write writes half.
    """

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._count = 0

    def is_fatal(self, what: str) -> bool:
        if threading.current_thread().name != _WRITER:
            return False
        self._count += 1
        if self._count != self._fatal:
            return False
        say('step', number=self._count, kind=what)
        return True

    def before(self, what: str) -> None:
        if self.is_fatal(what):
            die()

    @property
    def count(self) -> int:
        return self._count


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _File(io.FileIO):
    """A file whose writes are steps."""

    steps: Steps

    def write(self, data: Any) -> int:
        if self.steps.is_fatal('write'):
            view = memoryview(data)
            super().write(view[:len(view) // 2])
            die()
        return super().write(data)


def watch_disk(steps: Steps, shadow: Path) -> None:
    """Take note of every step, and say what is durable; synchronised files get a second name in
    shadow, so that what a power cut brings back is still there."""
    real_open, real_fsync, real_mkdir = builtins.open, os.fsync, os.mkdir

    def opened(file: Any, mode: str = 'r', *more: Any, **options: Any) -> Any:
        if mode in ('wb', 'xb', 'ab') and not more and not options:
            steps.before('open')
            raw = _File(file, mode)
            raw.steps = steps
            return io.BufferedWriter(raw)
        return real_open(file, mode, *more, **options)

    def path_opened(file: Any, mode: str = 'r', buffering: int = -1, *more: Any,
                    **options: Any) -> Any:
        return (opened(file, mode) if mode in ('wb', 'xb', 'ab')
                else real_open(file, mode, buffering, *more, **options))

    def fsync(descriptor: int) -> None:
        steps.before('fsync')
        real_fsync(descriptor)
        found, path = os.fstat(descriptor), Path(os.readlink(f'/proc/self/fd/{descriptor}'))
        if stat.S_ISDIR(found.st_mode):
            say('folder', inode=found.st_ino, entries=entries(path, shadow))
        else:
            keep(path, found.st_ino, shadow)
            say('file', inode=found.st_ino, size=found.st_size, name=path.name,
                folder=path.parent.stat().st_ino)

    def mkdir(*arguments: Any, **options: Any) -> None:
        steps.before('mkdir')
        real_mkdir(*arguments, **options)
        say('folder', inode=os.stat(arguments[0]).st_ino, entries={})

    builtins.open = opened      # type: ignore[assignment]
    io.open = path_opened       # type: ignore[assignment]
    os.fsync = fsync            # type: ignore[assignment]
    os.mkdir = mkdir            # type: ignore[assignment]
    sys.addaudithook(lambda event, _: steps.before(event) if event in (
        'os.rename', 'os.remove', 'os.rmdir') else None)


def entries(folder: Path, shadow: Path) -> dict[str, tuple[int, bool]]:
    """Name -> (inode, whether it is a folder); each file is kept in shadow."""
    found = {}
    for path in folder.iterdir():
        inode = path.stat().st_ino
        found[path.name] = inode, path.is_dir()
        if not path.is_dir():
            keep(path, inode, shadow)
    return found


def keep(path: Path, inode: int, shadow: Path) -> None:
    if not (shadow / str(inode)).exists():
        os.link(path, shadow / str(inode))


class ToldSpool(Spool):
    """Says when everything is recovered, and what was begun."""

    def recover(self) -> Iterator[manifest.Manifest]:
        yield from super().recover()
        say('recovered', at_s=time.monotonic())

    def begin(self, draft: manifest.Manifest) -> Path:
        folder = super().begin(draft)
        say('begun', case=draft['case_id'])
        return folder


def digest(before: int, topic: str, log_ns: int, data: bytes) -> int:
    """Of messages one after the other."""
    return zlib.crc32(data, zlib.crc32(f'{topic} {log_ns} '.encode(), before))


def tell_flushes() -> None:
    """After each flush: how many messages a case has, and their digest."""
    real_write, real_flush = BagWriter.write, BagWriter.flush
    digests: dict[str, int] = {}

    def write(self: BagWriter, topic: str, log_ns: int, publish_ns: int, data: bytes) -> None:
        real_write(self, topic, log_ns, publish_ns, data)
        digests[str(self.path)] = digest(digests.get(str(self.path), 0), topic, log_ns, data)

    def flush(self: BagWriter) -> None:
        real_flush(self)
        say('flushed', case=self.path.name.removesuffix('_0.mcap'), messages=self.messages,
            digest=digests.get(str(self.path), 0), at_s=time.monotonic())

    BagWriter.write = write     # type: ignore[method-assign]
    BagWriter.flush = flush     # type: ignore[method-assign]


class Robot:
    """Two streams of about 1 MB/s and a latched task into the ring, from a thread of its own."""

    def __init__(self, ring: Ring, chance: Random) -> None:
        self._ring = ring
        self._noise = chance.randbytes(40_000)
        self.ends = threading.Event()
        for name in TOPICS:
            ring.add_topic(name, 4_000_000, latched_depth=1 if name == '/task' else 0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._ring.append('/task', time.monotonic_ns(), _string(b'drive to the goal'))
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self.ends.wait(0.01):
            number += 1
            start = number * 37 % 20_000
            self._ring.append('/scan', time.monotonic_ns(),
                              _string(b'%d ' % number + self._noise[start:start + 700] * 2))
            if number % 3 == 0:
                self._ring.append('/camera', time.monotonic_ns(),
                                  _string(b'%d ' % number + self._noise[start:start + 20_000]))


def _string(data: bytes) -> bytes:
    """A std_msgs/String in CDR; its bytes need not be text."""
    return b'\x00\x01\x00\x00' + struct.pack('<I', len(data) + 1) + data + b'\0'


def live(job: Mapping[str, Any]) -> None:
    """One life: recover, then record until killed, or until `rounds` rounds of triggers are over.

    rounds: -1 for ever, 0 to recover only.
    """
    root, chance = Path(job['root']), Random(job['seed'])
    steps = Steps(job['fatal'])
    watch_disk(steps, Path(job['shadow']))
    tell_flushes()
    spool = ToldSpool(root, 0, lambda text: say('said', text=text),
                      free_bytes=lambda path: job['capacity'] - used(path),
                      evict_unsent=job['evict_unsent'])
    spool.open()
    finished = threading.Condition()
    known: set[str] = set()

    def on_case(content: manifest.Manifest) -> None:
        say('case', case=content['case_id'])
        with finished:
            known.add(content['case_id'])
            finished.notify_all()

    ring = Ring(3 * S)
    worker = Worker(ring, spool, TOPICS, Identity('robot_7', 'amr'), compression=job['compression'],
                    flush_s=FLUSH_S, max_open=6, on_case=on_case,
                    log=lambda _, text: say('said', text=text))
    robot = Robot(ring, chance)
    say('opened')
    worker.start()
    robot.start()
    number = 0
    while number != job['rounds']:
        number += 1
        ids = [each for each in (submit(worker, chance, rule)
                                 for rule in ('stop', 'near', 'near')) if each]
        if job['rounds'] > 0:
            with finished:
                finished.wait_for(lambda ids=ids: known.issuperset(ids), 5.0)  # type: ignore[misc]
        else:
            time.sleep(chance.uniform(0.02, 0.3))
    robot.ends.set()
    worker.stop()
    say('ended', steps=steps.count)


def submit(worker: Worker, chance: Random, rule: str) -> str:
    """A trigger; `near` merges. Its id, empty when too many are open."""
    trigger = Trigger(rule, 'robot', rule, (rule,), time.monotonic_ns(),
                      int(chance.uniform(0.05, 0.5) * S), int(chance.uniform(0.05, 0.4) * S),
                      chance.choice((20, 50, 80)), {'seed': str(chance.random())}, rule == 'near')
    try:
        case = worker.submit(trigger, time.time_ns(), {})
    except CaseRefused:
        return ''
    say('accepted', case=case, at_s=time.monotonic())
    return case


def used(root: Path) -> int:
    """Bytes of all files in a spool."""
    total = 0
    for path in root.rglob('*'):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


if __name__ == '__main__':
    live(json.loads(sys.argv[1]))
