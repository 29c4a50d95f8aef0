"""A disk that refuses, once or for good: the thread lives, nothing wrong is told, nothing is lost.

The kernel's limit of a file's size is a refusal that needs no disk of its own: a write comes back
short, the next one fails (EFBIG).
"""

import contextlib
import errno
import os
import random
import resource
import threading
import time

import pytest
from making import (
    NOON_NS,
    SCAN,
    BagWriter,
    S,
    a_case,
    a_draft,
    a_trigger,
    an_open_spool,
    fill,
    string_cdr,
)
from mcap.writer import Writer

from edge_case_recorder import recovery
from edge_case_recorder.ring import Ring
from edge_case_recorder.sealing import Key
from edge_case_recorder.spool import State, cases
from edge_case_recorder.store import FolderStore
from edge_case_recorder.uploading.carrier import Carrier, Uploader
from edge_case_recorder.worker import Identity, Worker

KEY = Key(bytes(range(32)))
BOTH = pytest.mark.parametrize('key', [None, KEY], ids=['plain', 'sealed'])


@contextlib.contextmanager
def files_of_at_most(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def a_worker(ring, spool, on_case, said):
    return Worker(ring, spool, {'/scan': SCAN}, Identity('robot_7', 'amr'), compression='none',
                  flush_s=0.05, max_open=2, on_case=on_case,
                  log=lambda is_error, text: said.put(text))


def scans(ring, count):
    now_ns = time.monotonic_ns()
    for number in range(count):
        ring.append('/scan', now_ns - count + number,
                    string_cdr(str(number)) + random.Random(number).randbytes(20_000))


class Said:
    """What the worker's log said, to be waited for."""

    def __init__(self):
        self._texts = []
        self._news = threading.Condition()

    def put(self, text):
        with self._news:
            self._texts.append(text)
            self._news.notify_all()

    def wait_for(self, part, limit_s=10.0):
        with self._news:
            assert self._news.wait_for(
                lambda: any(part in text for text in self._texts), limit_s), self._texts


@BOTH
def test_a_disk_that_refuses_a_case_leaves_the_thread_alive_and_the_case_recoverable(
        tmp_path, key):
    ring, spool, said = Ring(60 * S), an_open_spool(tmp_path / 'spool', key=key), Said()
    finished = threading.Event()
    worker = a_worker(ring, spool, lambda _: finished.set(), said)
    ring.add_topic('/scan', 100_000_000)
    scans(ring, 20)
    worker.start()
    # More than one record of it goes to the disk before the limit: some of it stays in buffers.
    with files_of_at_most(150_000):
        worker.submit(a_trigger(now_ns=time.monotonic_ns(), before_s=1.0, after_s=5.0),
                      NOON_NS, {})
        said.wait_for('could not be finished')
    assert worker.is_alive
    worker.submit(a_trigger('operator', time.monotonic_ns(), 0.1, 0.1), NOON_NS + S, {})
    assert finished.wait(10.0)
    worker.stop()
    assert [case.state for case in cases(spool.root)] == [State.PARTIAL, State.RECORDED]


@BOTH
def test_after_one_refused_write_a_case_is_recovered_not_told_to_be_whole(tmp_path, key):
    spool = an_open_spool(tmp_path / 'spool', key=key)
    draft = a_draft()
    folder = spool.begin(draft)
    writer = BagWriter(folder, draft['case_id'], 'none', key)
    flushed = fill(writer, 30, size=20_000)
    writer.flush()
    fill(writer, 30, NOON_NS + S, size=20_000)
    with files_of_at_most(writer.path.stat().st_size + 1000), pytest.raises(OSError):
        writer.flush()
    # The disk takes everything again; what it has is not what was digested.
    with pytest.raises(OSError, match='refused a write before'):
        writer.close({})
    writer.abandon()
    [content] = spool.recover()
    assert content['messages'] == len(flushed)
    assert Uploader(Carrier(spool.root, FolderStore(tmp_path / 'bucket'),
                            keys=spool.keys)).upload_all() == (1, [])


def test_a_failed_fsync_is_final(tmp_path, monkeypatch):
    """The kernel tells it once, and may have let go of the pages."""
    writer = BagWriter(tmp_path, 'case', 'none')
    fill(writer, 30, size=20_000)
    with monkeypatch.context() as patched:
        patched.setattr('os.fsync', lambda _: (_ for _ in ()).throw(OSError(errno.EIO, 'no')))
        with pytest.raises(OSError, match='no'):
            writer.flush()
    with pytest.raises(OSError, match='refused a write before'):
        writer.close({})
    writer.abandon()


def test_a_disk_that_cannot_be_asked_for_its_room_does_not_end_the_thread(tmp_path):
    is_gone, said, finished = [True], Said(), threading.Event()

    def free_bytes(_):
        if is_gone[0]:
            raise OSError(errno.EIO, 'the disk is gone')
        return 10**12

    ring, spool = Ring(60 * S), an_open_spool(tmp_path, free_bytes=free_bytes)
    worker = a_worker(ring, spool, lambda _: finished.set(), said)
    ring.add_topic('/scan', 100_000_000)
    worker.start()
    said.wait_for('the disk is gone')
    assert worker.status.failed == 1
    is_gone[0] = False
    scans(ring, 5)
    worker.submit(a_trigger(now_ns=time.monotonic_ns(), before_s=1.0, after_s=0.1), NOON_NS, {})
    assert finished.wait(10.0)
    worker.stop()


# Recovery

def a_partial(spool, stamp_ns=NOON_NS):
    draft = a_draft(stamp_ns=stamp_ns)
    folder = spool.begin(draft)
    writer = BagWriter(folder, draft['case_id'], 'none', spool.key)
    fill(writer, 60, stamp_ns, size=20_000)
    writer.flush()
    writer.abandon()
    return folder


@pytest.mark.parametrize('offers', ['[' * 20_000, '2001-99-99', '- {depth: *none}'],
                         ids=['deep', 'no date', 'no alias'])
def test_offers_that_are_none_cost_only_themselves(tmp_path, offers):
    """They are text of the damaged bag."""
    spool = an_open_spool(tmp_path)
    draft = a_draft()
    folder = spool.begin(draft)
    with open(folder / f'{draft["case_id"]}_0.mcap', 'wb') as file:
        writer = Writer(file)
        writer.start()
        channel = writer.register_channel('/a', 'cdr', writer.register_schema('a/msg/B', '', b''),
                                          {'offered_qos_profiles': offers})
        writer.add_message(channel, NOON_NS, b'\0\1\0\0', NOON_NS)
        writer.finish()
    [content] = spool.recover()
    assert content['messages'] == 1


def test_no_folder_keeps_another_from_being_recovered(tmp_path):
    spool = an_open_spool(tmp_path)
    deep, pipe, good = (a_partial(spool, NOON_NS + number * S) for number in range(3))
    draft = (deep / 'draft.json').read_text()
    nested = '[' * 500 + ']' * 500     # JSON reads it, the writer of YAML does not
    assert '"id": "robot_7"' in draft
    (deep / 'draft.json').write_text(draft.replace('"id": "robot_7"', f'"id": {nested}'))
    next(pipe.glob('*.mcap')).unlink()
    os.mkfifo(pipe / f'{pipe.name.removesuffix(".partial")}_0.mcap')
    assert [content['case_id'] + '.partial' for content in spool.recover()] == [good.name]


@BOTH
def test_what_the_disk_refuses_to_read_is_not_given_up(tmp_path, key, monkeypatch):
    """A torn end ends a bag; an error of the disk does not."""
    spool = an_open_spool(tmp_path, key=key)
    a_partial(spool)
    opened = recovery._opened

    class Refusing:
        def __init__(self, file):
            self._file, self._left = file, 20

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def __getattr__(self, name):
            return getattr(self._file, name)

        def read(self, count=-1):
            self._left -= 1
            if self._left < 0:
                raise OSError(errno.EIO, 'no')
            return self._file.read(count)

    with monkeypatch.context() as patched:
        patched.setattr(recovery, '_opened', lambda path, key: Refusing(opened(path, key)))
        assert not list(spool.recover())
    assert [case.state for case in cases(spool.root)] == [State.PARTIAL]
    [content] = spool.recover()
    assert content['messages'] == 60


@BOTH
def test_a_recovery_that_ran_out_of_room_leaves_no_half_bag_in_the_way(tmp_path, key):
    spool = an_open_spool(tmp_path, key=key)
    folder = a_partial(spool)
    with files_of_at_most(300):
        assert not list(spool.recover())
    assert not (folder / 'rebuilt').exists()
    [content] = spool.recover()
    assert content['messages'] == 60


def test_a_leftover_whose_log_cannot_be_read_does_not_stop_the_recovery(tmp_path):
    spool = an_open_spool(tmp_path)
    case = a_case(spool, stamp_ns=NOON_NS + 9 * S)
    case.rename(case.with_name(case.name + '.evicted'))
    (tmp_path / 'evictions.jsonl').write_text('[' * 100_000 + '\n')
    a_partial(spool)
    assert len(list(spool.recover())) == 1
    assert not list(tmp_path.glob('*.evicted'))
