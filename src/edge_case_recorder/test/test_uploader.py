"""Uploads to a real fake-gcs-server, with outages and with kill -9."""

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
from making import NOON_NS, S, a_case, an_open_spool

from edge_case_recorder import manifest
from edge_case_recorder.bucket import main as check_buckets
from edge_case_recorder.bucket import verify
from edge_case_recorder.desk_bucket import DeskBucket, DeskBucketError
from edge_case_recorder.spool import State, cases
from edge_case_recorder.store import FolderStore, ObjectInfo, StoreError, Trouble, open_store
from edge_case_recorder.uploader import Patience, Uploader, main

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


def watched(store, order):
    """The same store; names are noted as they are sent."""
    put = store.put
    store.put = lambda name, *rest: (order.append(name), put(name, *rest))[1]
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
    assert Uploader(spool.root, watched(open_store(bucket), order), QUICK).upload_all() == (1, [])
    assert order[-1].endswith('/manifest.json')
    assert len(order) == 3
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


def test_the_important_case_goes_first(spool, bucket):
    a_case(spool, stamp_ns=NOON_NS, priority=50)
    urgent = a_case(spool, stamp_ns=NOON_NS + S, priority=90)
    order = []
    store = watched(open_store(bucket), order)
    Uploader(spool.root, store, QUICK).upload_all()
    assert [urgent.name in name for name in order] == [True] * 3 + [False] * 3


def test_what_is_there_already_and_equal_counts_as_sent(spool, bucket):
    """The mark is lost, as by a kill just before it: nothing is sent twice, nothing conflicts."""
    folder = a_case(spool)
    store = open_store(bucket)
    Uploader(spool.root, store, QUICK).upload_all()
    (folder / 'uploaded.json').unlink()
    store.put = None
    assert Uploader(spool.root, store, QUICK).upload_all() == (1, [])
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
            open_store(bucket).put(name, folder / Path(name).name, 'application/octet-stream')
            return None
        return look(name)
    store.stat = stat
    assert store.put.__self__ is store
    assert Uploader(spool.root, store, QUICK).upload_all() == (1, [])
    assert len(seen) == 3
    assert verify(content, bucket, download=True).ok


def test_the_server_really_refuses_a_second_object_under_a_name(bucket, tmp_path):
    store = open_store(bucket)
    (tmp_path / 'one').write_bytes(b'one')
    (tmp_path / 'two').write_bytes(b'two')
    assert store.put('x', tmp_path / 'one', 'text/plain') == ObjectInfo(
        3, manifest.crc32c_of(b'one'))
    assert store.put('x', tmp_path / 'two', 'text/plain') is None
    assert store.get('x') == b'one'


def test_another_object_under_the_name_is_a_conflict_that_a_person_sees(spool, bucket, tmp_path):
    folder = a_case(spool)
    other = a_case(spool, stamp_ns=NOON_NS + S, priority=10)
    content = manifest.read(folder)
    (tmp_path / 'other').write_bytes(b'something else')
    open_store(bucket).put(f'{manifest.object_folder(content)}/metadata.yaml', tmp_path / 'other',
                           'application/yaml')
    sent, [trouble] = Uploader(spool.root, open_store(bucket), QUICK).upload_all()
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
    _, [trouble] = Uploader(spool.root, open_store(bucket), QUICK).upload_all()
    assert trouble.trouble is Trouble.DAMAGED
    assert states(spool) == [State.FAILED]


def test_a_missing_bucket_a_bad_url_and_a_manifest_that_is_none(spool, server, bucket, capsys):
    folder = a_case(spool)
    store = open_store('gs://nobody-made-this')
    _, [trouble] = Uploader(spool.root, store, QUICK).upload_all()
    assert trouble.trouble is Trouble.NO_BUCKET
    assert states(spool) == [State.RECORDED]   # it waits; nothing is lost
    for url in ('s3://x', 'gs://', 'file://host/x', 'cases'):
        assert main(['--spool', str(spool.root), '--bucket', url, '--once']) == 2
        assert 'must be gs://' in capsys.readouterr().err
    (folder / 'manifest.json').write_text('{}')
    Uploader(spool.root, open_store(bucket), QUICK).upload_all()
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
               for number in range(8)]
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
    assert len(names) == 8 * 3


def test_a_large_file_goes_up_in_pieces_without_being_held_in_memory(spool, bucket):
    folder = a_case(spool, messages=300, size=100_000)   # 30 MB, beyond the multipart limit
    assert next(folder.glob('*.mcap')).stat().st_size > 29_000_000
    store = open_store(bucket)
    tracemalloc.start()
    assert Uploader(spool.root, store, QUICK).upload_all() == (1, [])
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
    assert store.put(f'{manifest.object_folder(content)}/manifest.json', __file__, '') is None
    target = tmp_path / 'my bucket' / manifest.object_folder(content) / 'metadata.yaml'
    target.write_text('changed')
    assert 'bytes' in verify(content, url).problem
    target.unlink()
    assert 'is not there' in verify(content, url).problem
    assert check_buckets([url, str(folder)]) == 1


def test_waits_grow_with_full_jitter_and_end_with_the_outage(spool, monkeypatch):
    """The bound of each wait doubles up to the longest; the wait itself is anywhere below it."""
    a_case(spool)
    bounds = []

    class Down(FolderStore):
        def stat(self, name):
            raise StoreError(Trouble.UNREACHABLE, 'no network')

    uploader = Uploader(spool.root, Down(spool.root), Patience(1, 0.001, 0.016))

    def random_s(low, high):
        bounds.append((low, high))
        if len(bounds) == 7:
            uploader.stop.set()
        return 0.0
    uploader.random_s = random_s
    uploader.watch(poll_s=0.001)
    assert [high for _, high in bounds] == pytest.approx(
        [0.002, 0.004, 0.008, 0.016, 0.016, 0.016, 0.016])
    assert all(low == 0.0 for low, _ in bounds)


def test_the_desk_bucket_keeps_its_objects_and_dies_with_its_owner(tmp_path, monkeypatch):
    with DeskBucket(tmp_path, bucket='kept') as first:
        monkeypatch.setenv('STORAGE_EMULATOR_HOST', first.endpoint)
        open_store('gs://kept').put('a', Path(__file__), 'text/plain')
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
