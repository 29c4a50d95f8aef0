"""Uploads to a real fake-gcs-server, with outages and with kill -9.

What it does faithfully: whole uploads, checksums, preconditions. Its resumable protocol is not (a
status query finishes the object with what is there), so nothing here breaks off within an object:
that is test_resuming's, against the strict bucket.
"""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from making import NOON_NS, S, a_case, an_item, an_open_spool, put

from edge_case_recorder import manifest
from edge_case_recorder.bucket import main as check_buckets
from edge_case_recorder.bucket import verify
from edge_case_recorder.desk_bucket import DeskBucket, DeskBucketError
from edge_case_recorder.spool import State, cases
from edge_case_recorder.store import FolderStore, ObjectInfo, StoreError, Trouble, open_store
from edge_case_recorder.uploader import main
from edge_case_recorder.uploading.backoff import Backoff, Patience
from edge_case_recorder.uploading.carrier import Carrier, Uploader
from edge_case_recorder.uploading.folder import translated
from edge_case_recorder.uploading.protocol import NameTakenError

QUICK = Patience(attempts=3, first_s=0.01, longest_s=0.05)


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with DeskBucket(tmp_path_factory.mktemp('bucket'), bucket='cases') as desk:
        yield desk


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    """The URL of a prefix that this test has for itself."""
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', server.endpoint)
    return f'{server.uri}/{tmp_path.name}'


@pytest.fixture
def spool(tmp_path):
    return an_open_spool(tmp_path / 'spool')


def command(spool, bucket, *more):
    return [sys.executable, '-m', 'edge_case_recorder.uploader', '--spool', str(spool.root),
            '--bucket', bucket, '--poll', '0.05', *more]


def an_uploader(spool, store):
    return Uploader(Carrier(spool.root, store, backoff=Backoff(QUICK)))


def watched(store, order):
    """The same store; names are noted as they begin to be sent."""
    sending = store.sending
    store.sending = lambda item: (order.append(item.name), sending(item))[1]
    return store


def states(spool):
    return [case.state for case in cases(spool.root)]


def all_uploaded(spool, limit_s=20.0):
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        if set(states(spool)) == {State.UPLOADED}:
            return True
        time.sleep(0.02)
    return False


def test_a_case_arrives_whole_and_the_manifest_is_last(spool, bucket):
    folder = a_case(spool)
    order = []
    assert an_uploader(spool, watched(open_store(bucket), order)).upload_all() == (1, [])
    assert order[-1].endswith('/manifest.json')
    assert len(order) == 3
    assert not list(folder.glob('.*'))   # no session is left behind
    content = manifest.read(folder)
    assert verify(content, bucket).ok
    assert verify(content, bucket, download=True).ok
    assert states(spool) == [State.UPLOADED]
    told = json.loads((folder / 'uploaded.json').read_text())
    assert told['url'] == f'{bucket}/robot_7/2026-11-23/{content["case_id"]}'
    assert check_buckets([bucket, str(folder), '--download']) == 0


def test_the_command_uploads_once_and_says_one_line_a_case(spool, bucket):
    a_case(spool)
    a_case(spool, stamp_ns=NOON_NS + S)
    done = subprocess.run(command(spool, bucket, '--once'), capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if 'uploaded' in line]
    assert len(lines) == 2
    assert all(bucket in line for line in lines)


def test_a_second_uploader_of_a_spool_is_refused(spool, bucket):
    first = subprocess.Popen(command(spool, bucket), stdout=subprocess.PIPE, text=True)
    try:
        assert 'carrying' in first.stdout.readline()
        second = subprocess.run(command(spool, bucket, '--once'), capture_output=True, text=True,
                                check=False)
        assert second.returncode == 2
        assert second.stderr == f'uploader: {spool.root}: another uploader carries its cases\n'
    finally:
        first.kill()    # whose lock goes with it
        first.communicate()
    assert main(['--spool', str(spool.root), '--bucket', bucket, '--once']) == 0


def test_the_important_case_goes_first(spool, bucket):
    a_case(spool, stamp_ns=NOON_NS, priority=50)
    urgent = a_case(spool, stamp_ns=NOON_NS + S, priority=90)
    order = []
    store = watched(open_store(bucket), order)
    an_uploader(spool, store).upload_all()
    assert [urgent.name in name for name in order] == [True] * 3 + [False] * 3


def test_what_is_there_already_and_equal_counts_as_sent(spool, bucket):
    """The mark is lost, as by a kill just before it: nothing is sent twice, nothing conflicts."""
    folder = a_case(spool)
    store = open_store(bucket)
    an_uploader(spool, store).upload_all()
    (folder / 'uploaded.json').unlink()
    store.put_whole = None
    assert an_uploader(spool, store).upload_all() == (1, [])
    assert states(spool) == [State.UPLOADED]


def test_a_name_taken_between_look_and_put_is_the_412_and_equal_content_is_done(spool, bucket):
    folder = a_case(spool)
    content = manifest.read(folder)
    store = open_store(bucket)
    look = store.stat
    seen = []

    def stat(name):
        """Nothing at the first look; then somebody else sends the same object."""
        if name not in seen:
            seen.append(name)
            put(open_store(bucket), name, folder / Path(name).name)
            return None
        return look(name)
    store.stat = stat
    assert an_uploader(spool, store).upload_all() == (1, [])
    assert len(seen) == 3
    assert verify(content, bucket, download=True).ok


def test_the_server_really_refuses_a_second_object_under_a_name(bucket, tmp_path):
    store = open_store(bucket)
    (tmp_path / 'one').write_bytes(b'one')
    (tmp_path / 'two').write_bytes(b'two')
    assert store.put_whole(an_item('x', tmp_path / 'one')) == ObjectInfo(
        3, manifest.crc32c_of(b'one'))
    with pytest.raises(NameTakenError):
        store.put_whole(an_item('x', tmp_path / 'two'))
    assert store.get('x') == b'one'
    # Looked at first, nothing is sent: what is there is told.
    assert put(store, 'x', tmp_path / 'two').crc32c == manifest.crc32c_of(b'one')


def test_another_object_under_the_name_is_a_conflict_that_a_person_sees(spool, bucket, tmp_path):
    folder = a_case(spool)
    other = a_case(spool, stamp_ns=NOON_NS + S, priority=10)
    content = manifest.read(folder)
    (tmp_path / 'other').write_bytes(b'something else')
    put(open_store(bucket), f'{manifest.object_folder(content)}/metadata.yaml', tmp_path / 'other')
    sent, [trouble] = an_uploader(spool, open_store(bucket)).upload_all()
    assert trouble.trouble is Trouble.CONFLICT
    assert sent == 1   # the other case is not held up
    assert states(spool) == [State.FAILED, State.UPLOADED]
    assert 'another object' in json.loads((folder / 'failed.json').read_text())['why']
    assert not verify(content, bucket).ok
    assert verify(manifest.read(other), bucket).ok


def test_a_file_that_rotted_on_the_disk_is_not_sent(spool, bucket):
    folder = a_case(spool)
    path = next(folder.glob('*.mcap'))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    _, [trouble] = an_uploader(spool, open_store(bucket)).upload_all()
    assert trouble.trouble is Trouble.DAMAGED
    assert states(spool) == [State.FAILED]


def test_a_missing_bucket_a_bad_url_and_a_manifest_that_is_none(spool, server, bucket, capsys):
    folder = a_case(spool)
    store = open_store('gs://nobody-made-this')
    _, [trouble] = an_uploader(spool, store).upload_all()
    assert trouble.trouble is Trouble.NO_BUCKET
    assert states(spool) == [State.RECORDED]   # it waits; nothing is lost
    for url in ('s3://x', 'gs://', 'file://host/x', 'cases'):
        assert main(['--spool', str(spool.root), '--bucket', url, '--once']) == 2
        assert 'must be gs://' in capsys.readouterr().err
    (spool.root / 'schedule.yaml').write_text('windows: []')
    for more, told in ((('--limit', '0'), 'above 0'),
                       (('--schedule', str(spool.root / 'schedule.yaml')), 'windows: must be')):
        assert main(['--spool', str(spool.root), '--bucket', bucket, '--once', *more]) == 2
        assert told in capsys.readouterr().err
    (folder / 'manifest.json').write_text('{}')
    an_uploader(spool, open_store(bucket)).upload_all()
    assert states(spool) == [State.FAILED]


def test_an_outage_is_waited_out_and_everything_arrives(spool, tmp_path, monkeypatch):
    with DeskBucket(tmp_path / 'desk', bucket='cases') as desk:
        monkeypatch.setenv('STORAGE_EMULATOR_HOST', desk.endpoint)
        desk.kill()
        folders = [a_case(spool, stamp_ns=NOON_NS + number * S) for number in range(3)]
        process = subprocess.Popen(command(spool, desk.uri), stdout=subprocess.PIPE, text=True)
        try:
            for line in process.stdout:
                if 'waiting with' in line:
                    break
            assert set(states(spool)) == {State.RECORDED}
            desk.start()
            assert all_uploaded(spool)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
        assert all(verify(manifest.read(folder), desk.uri, download=True).ok
                   for folder in folders)


def test_killed_anywhere_and_started_again_every_case_arrives_once(spool, server, bucket):
    """kill -9 at random moments of a running upload, until everything has arrived."""
    chance = random.Random(5)
    folders = [a_case(spool, stamp_ns=NOON_NS + number * S, messages=60, size=20_000)
               for number in range(40)]      # 1.2 MB: each object goes in one request
    environment = os.environ | server.environment
    kills = 0
    for _ in range(40):
        process = subprocess.Popen(command(spool, bucket), env=environment,
                                   stdout=subprocess.PIPE, text=True)
        began = len([state for state in states(spool) if state is State.UPLOADED])
        process.stdout.readline()           # it has begun to carry
        time.sleep(chance.uniform(0.0, 0.12))
        process.kill()
        process.wait()
        process.stdout.close()
        kills += 1
        if set(states(spool)) == {State.UPLOADED}:
            break
        assert len([state for state in states(spool) if state is State.UPLOADED]) >= began
    else:
        assert subprocess.run(command(spool, bucket, '--once'), env=environment, timeout=30,
                              check=False).returncode == 0
    assert kills > 2
    for folder in folders:
        assert verify(manifest.read(folder), bucket, download=True).ok
    names = [path for path in (server.folder / 'objects').rglob(f'*{Path(bucket).name}*/**/*')
             if path.is_file()]
    assert len(names) == 40 * 3


def test_a_large_file_goes_up_in_pieces_without_being_held_in_memory(spool, bucket):
    folder = a_case(spool, messages=300, size=100_000)   # 30 MB, beyond the multipart limit
    assert next(folder.glob('*.mcap')).stat().st_size > 29_000_000
    store = open_store(bucket)
    tracemalloc.start()
    assert an_uploader(spool, store).upload_all() == (1, [])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert verify(manifest.read(folder), bucket).ok
    assert peak < 25_000_000


def test_a_folder_is_a_bucket_too(spool, tmp_path):
    folder = a_case(spool)
    url = (tmp_path / 'my bucket').as_uri()
    assert main(['--spool', str(spool.root), '--bucket', url, '--once', '--ros-args', '-r',
                 '__node:=uploader']) == 0
    content = manifest.read(folder)
    assert verify(content, url, download=True).ok
    store = FolderStore(tmp_path / 'my bucket')
    there = put(store, f'{manifest.object_folder(content)}/manifest.json', Path(__file__))
    assert there.crc32c == manifest.describe(folder / 'manifest.json')['crc32c']
    assert not list((tmp_path / 'my bucket').rglob('.*'))
    target = tmp_path / 'my bucket' / manifest.object_folder(content) / 'metadata.yaml'
    target.write_text('changed')
    assert 'bytes' in verify(content, url).problem
    target.unlink()
    assert 'is not there' in verify(content, url).problem
    assert check_buckets([url, str(folder)]) == 1


def test_a_folder_goes_on_with_what_a_killed_process_left_and_not_with_what_is_not_its(tmp_path):
    path = tmp_path / 'a.mcap'
    path.write_bytes(random.Random(1).randbytes(9_000_000))
    store = FolderStore(tmp_path / 'share')
    item = an_item('robot/a.mcap', path)
    assert store.sending(item).step() is None
    left = tmp_path / 'share' / 'robot' / '.a.mcap.part'
    first = left.stat().st_size
    assert 0 < first == store.sending(item).persisted < item.bytes
    assert store.stat('robot/a.mcap') is None
    left.write_bytes(bytes(first))      # a power cut left zeros
    with pytest.raises(StoreError, match='begins anew'):
        put(store, 'robot/a.mcap', path)
    assert put(store, 'robot/a.mcap', path) == ObjectInfo(item.bytes, item.crc32c)
    left.write_bytes(b'x')      # a kill came between the link and this
    assert put(store, 'robot/a.mcap', path).crc32c == item.crc32c
    assert not left.exists()


@pytest.mark.parametrize(('number', 'trouble'), [
    (errno.ENOSPC, Trouble.FULL), (errno.EDQUOT, Trouble.FULL), (errno.EACCES, Trouble.CREDENTIALS),
    (errno.EROFS, Trouble.CREDENTIALS), (errno.EIO, Trouble.UNREACHABLE),
    (errno.ESTALE, Trouble.UNREACHABLE)])
def test_a_disks_refusals_have_names(number, trouble):
    assert translated(Path('/share/a'), OSError(number, os.strerror(number))).trouble is trouble


def test_waits_grow_with_full_jitter_and_end_with_the_outage(spool):
    """The bound of each wait doubles up to the longest; the wait itself is anywhere below it."""
    a_case(spool)
    bounds = []

    class Down(FolderStore):
        def sending(self, item):
            raise StoreError(Trouble.UNREACHABLE, 'no network')

    def uniform(low, high):
        bounds.append((low, high))
        if len(bounds) == 7:
            uploader.stop.set()
        return 0.0
    uploader = Uploader(Carrier(spool.root, Down(spool.root),
                                backoff=Backoff(Patience(1, 0.001, 0.016), uniform)))
    uploader.watch(poll_s=0.001)
    assert [high for _, high in bounds] == pytest.approx(
        [0.002, 0.004, 0.008, 0.016, 0.016, 0.016, 0.016])
    assert all(low == 0.0 for low, _ in bounds)


def test_the_desk_bucket_keeps_its_objects_and_dies_with_its_owner(tmp_path, monkeypatch):
    with DeskBucket(tmp_path, bucket='kept') as first:
        monkeypatch.setenv('STORAGE_EMULATOR_HOST', first.endpoint)
        put(open_store('gs://kept'), 'a', Path(__file__))
    with DeskBucket(tmp_path, bucket='kept') as second:
        monkeypatch.setenv('STORAGE_EMULATOR_HOST', second.endpoint)
        assert open_store('gs://kept').get('a') == Path(__file__).read_bytes()
    owner = subprocess.Popen(
        [sys.executable, '-c', 'import sys, time\n'
         'from edge_case_recorder.desk_bucket import DeskBucket\n'
         'print(DeskBucket(sys.argv[1]).start().pid, flush=True)\n'
         'time.sleep(60)', str(tmp_path / 'owned')], stdout=subprocess.PIPE, text=True)
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    limit = time.monotonic() + 5
    while Path(f'/proc/{pid}/stat').exists() and time.monotonic() < limit and \
            Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z':
        time.sleep(0.02)
    assert not Path(f'/proc/{pid}').exists() or \
        Path(f'/proc/{pid}/stat').read_text().split()[2] == 'Z'


def test_a_port_that_is_taken_is_one_sentence(tmp_path, server):
    with pytest.raises(DeskBucketError, match='address already in use'):
        DeskBucket(tmp_path, port=server.port, ready_timeout_s=5).start()
