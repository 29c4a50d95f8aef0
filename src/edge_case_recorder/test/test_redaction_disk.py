"""Redaction when things go wrong: a kill -9, a key, a slow plug-in, a full disk."""

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from making import NOON_NS, S, a_draft, a_trigger, an_open_spool
from mcap.records import Message
from test_redaction import CAMERA, MARK, marked, on_disk

from edge_case_recorder import chunks, manifest
from edge_case_recorder.recording import OutOfRoom, Recording
from edge_case_recorder.redaction import Redactor
from edge_case_recorder.redaction.guard import Guard
from edge_case_recorder.ring import Ring
from edge_case_recorder.sealing import Key, open_plain, unseal
from edge_case_recorder.worker import Identity, Worker


def killed(spool, *arguments):
    """What a writer left that was killed with SIGKILL while it wrote."""
    writer = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / 'redaction_writer.py'), str(spool),
         *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        assert writer.stdout.readline() == 'flushed\n'
    writer.kill()
    writer.communicate()


def unpacked(stream):
    """The data of every message in chunks that are whole, decompressed, and how many."""
    found = []
    try:
        for record in chunks.in_file_order(stream):
            if isinstance(record, Message):
                found.append(record.data)
    except Exception as error:   # where the kill tore it
        print(f'torn: {error!r}')
    return b''.join(found), len(found)


@pytest.mark.parametrize('is_sealed', [False, True], ids=['plain', 'sealed'])
@pytest.mark.parametrize('mode', ['redacted', 'plain'])
def test_a_kill_leaves_nothing_hidden_in_any_chunk(tmp_path, mode, is_sealed):
    spool, key = tmp_path / 'spool', tmp_path / 'key'
    key.write_text('07' * 32)
    key.chmod(0o600)
    keys = [Key.read(key)] if is_sealed else []
    killed(spool, mode, *[key] * is_sealed)
    left, = spool.rglob('*.mcap*')
    with unseal(left, keys, torn=True) if is_sealed else left.open('rb') as file:
        content = file.read()
    found, count = unpacked(io.BytesIO(content))
    assert count >= 5 * 15
    assert (MARK in found) == (mode == 'plain')    # without redaction the same look finds it
    if mode == 'redacted':
        assert MARK not in content + on_disk(spool)
    opened = an_open_spool(spool, key=keys[0] if keys else None)
    told, = opened.recover()
    opened.close()
    assert told['messages'] >= 5 * 15
    assert ('redaction' in told) == (mode == 'redacted')
    whole, = spool.rglob('*.mcap*')
    with open_plain(whole, keys) as file:
        found, count = unpacked(io.BytesIO(file.read()))
    assert count == told['messages']
    assert (MARK in found) == (mode == 'plain')


class Slow(Redactor):
    """While it looks at one picture, ten more arrive: it is ten times too slow."""

    name, version, hides = 'slow', '1', 'all'

    def __init__(self, ring):
        self.ring, self.now_ns, self.sent, self.most_held = ring, 99 * S, 0, 0

    def arrive(self, count):
        for _ in range(count):
            self.now_ns += S // 100
            self.sent += 1
            self.ring.append(CAMERA.name, self.now_ns, marked())
        self.most_held = max(self.most_held, self.ring.counts()[CAMERA.name].held_bytes)

    def redact(self, topic, type_name, data):
        if self.now_ns < 110 * S:
            self.arrive(10)
        return bytes(4)


def test_what_a_slow_plugin_does_not_reach_is_counted_and_not_written(tmp_path):
    spool, ring, budget = an_open_spool(tmp_path), Ring(4 * S), 300_000
    ring.add_topic(CAMERA.name, budget, 0)
    slow = Slow(ring)
    slow.arrive(100)
    recording = Recording(a_trigger(after_s=8.0), ring.open_window(95 * S), a_draft(), ring,
                          spool, {CAMERA.name: CAMERA}, 'zstd', guard=Guard(slow))
    while not recording.has_window:
        recording.advance(slow.now_ns)
    told = recording.finish()
    spool.close()
    in_window = (recording.end_ns - 99 * S) // (S // 100)
    entry, = told['topics']
    assert entry['lost_in_ring'] > in_window // 2
    assert entry['lost_in_ring'] + entry['messages'] == in_window
    assert told['redaction']['messages_changed'] == entry['messages'] > 0
    assert not told['window']['complete']
    assert slow.most_held <= budget
    assert MARK not in on_disk(tmp_path)


class Grows(Redactor):
    name, version, hides = 'grows', '1', 'nothing'

    def redact(self, topic, type_name, data):
        return data + bytes(50_000)


def test_a_slow_plugin_stops_when_told_and_the_case_says_that_it_was_cut(tmp_path):
    """The writer must end before the spool is let go of: the rest of the window is given up."""
    spool, ring = an_open_spool(tmp_path), Ring(60 * S)
    ring.add_topic(CAMERA.name, 10_000_000, 0)
    now_ns = time.monotonic_ns()
    for number in range(50):
        ring.append(CAMERA.name, now_ns - 8 * S + number * S // 10, marked())
    told, seen = [], threading.Event()

    class Sleepy(Grows):
        def redact(self, topic, type_name, data):
            seen.set()
            time.sleep(0.2)
            return data

    worker = Worker(ring, spool, {CAMERA.name: CAMERA}, Identity('robot_7', 'amr'),
                    compression='none', flush_s=0.05, max_open=1, on_case=told.append,
                    log=lambda *_: None, redactor=Sleepy({}))
    worker.start()
    worker.submit(a_trigger(now_ns=now_ns - S, before_s=8.0, after_s=0.1), NOON_NS, {})
    assert seen.wait(5.0)
    worker.stop(timeout_s=4.0)
    assert not worker.is_alive
    spool.close()
    [content] = told
    assert 0 < content['messages'] < 40
    assert content['window']['truncated_by'] == 'shutdown'


def test_room_is_asked_for_what_is_stored(tmp_path):
    """A message of 800 bytes that became 50 kB does not go below the floor."""
    spool = an_open_spool(tmp_path, free_bytes=lambda _: 10_000)
    ring = Ring(60 * S)
    ring.add_topic(CAMERA.name, 1_000_000, 0)
    ring.append(CAMERA.name, 99 * S, marked())
    recording = Recording(a_trigger(), ring.open_window(95 * S), a_draft(), ring, spool,
                          {CAMERA.name: CAMERA}, 'none', guard=Guard(Grows({})))
    with pytest.raises(OutOfRoom):
        recording.advance(103 * S)
    told = manifest.check(recording.finish('disk_floor'), 'case')
    assert told['messages'] == 0
    spool.close()
