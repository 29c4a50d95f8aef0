"""Sealed cases from the ring to the bucket: no plaintext in the spool, only plaintext behind it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from in_process import FakeClock, InProcess, a_store, an_uploader, rules_of
from making import (
    NOON_NS,
    SCAN,
    TASK,
    S,
    a_case,
    a_draft,
    a_trigger,
    an_open_spool,
    fill,
    string_cdr,
)
from rosbags.rosbag2 import Reader

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter
from edge_case_recorder.bag_messages import BagError, bags_under
from edge_case_recorder.bucket import verify
from edge_case_recorder.cases import main as cases_command
from edge_case_recorder.recovery import rebuild
from edge_case_recorder.report.command import main as case_report
from edge_case_recorder.ring import Ring
from edge_case_recorder.sealing import Key, NoKeyError, unseal, validate
from edge_case_recorder.spool import State, cases
from edge_case_recorder.spool_view import SpoolReader
from edge_case_recorder.store import FolderStore, GcsStore, Trouble
from edge_case_recorder.strict_bucket.server import StrictBucket
from edge_case_recorder.trigger_replay import main as replay_triggers
from edge_case_recorder.uploader import main as uploader_command
from edge_case_recorder.uploading.carrier import Carrier, Uploader
from edge_case_recorder.uploading.pace import ChunkSize
from edge_case_recorder.uploading.protocol import QUANTUM
from edge_case_recorder.worker import Identity, Worker

KEY = Key(bytes(range(32)))
OTHER = Key(bytes(32))
MARKER = b'a face in the front camera'


def a_key_file(folder, key=KEY, name='key'):
    path = folder / name
    path.write_text(key.secret.hex())
    path.chmod(0o600)
    return path


def files_with_plaintext(root):
    """Every file below root that holds the marker, as far as it can be read while it changes."""
    found = []
    for path in root.rglob('*'):
        try:
            if path.is_file() and MARKER in path.read_bytes():
                found.append(path.relative_to(root))
        except FileNotFoundError:
            continue
    return found


def a_partial(spool, flushes=4, per_flush=30, stamp_ns=NOON_NS):
    """A case that a crash cut short after its last flush; its folder and what was flushed."""
    draft = a_draft(stamp_ns=stamp_ns)
    folder = spool.begin(draft)
    writer = BagWriter(folder, draft['case_id'], 'none', spool.key)
    written = []
    for number in range(flushes):
        written += fill(writer, per_flush, stamp_ns + number * S, size=200)
        writer.write('/task', stamp_ns + number * S + S // 2, stamp_ns, string_cdr(MARKER.decode()))
        written.append(('/task', stamp_ns + number * S + S // 2, string_cdr(MARKER.decode())))
        writer.flush()
    writer.abandon()
    return folder, written


def messages(folder):
    with Reader(folder) as reader:
        return [(connection.topic, stamp, bytes(data))
                for connection, stamp, data in reader.messages()]


def unsealed(case, output):
    assert cases_command(['unseal', str(case), '--key', str(a_key_file(output)),
                          '--output', str(output)]) == 0
    return output / case.name


# The bag

def test_a_sealed_bag_is_the_plain_one_byte_for_byte(tmp_path):
    for name, key in (('plain', None), ('sealed', KEY)):
        (tmp_path / name).mkdir()
        writer = BagWriter(tmp_path / name, 'case', 'zstd', key)
        fill(writer, 200, size=3000)
        writer.flush()
        fill(writer, 200, NOON_NS + S, size=3000)
        writer.close({})
    assert (tmp_path / 'sealed/metadata.yaml').read_bytes() == \
        (tmp_path / 'plain/metadata.yaml').read_bytes()
    with unseal(tmp_path / 'sealed/case_0.mcap.sealed', [KEY]) as file:
        assert file.read() == (tmp_path / 'plain/case_0.mcap').read_bytes()
    assert manifest.describe(tmp_path / 'sealed/case_0.mcap.sealed', [KEY]) == \
        manifest.describe(tmp_path / 'plain/case_0.mcap')


# Recovery

def test_a_sealed_bag_cut_anywhere_is_rebuilt_sealed(tmp_path):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    folder, written = a_partial(spool)
    damaged = next(folder.glob('*.mcap.sealed'))
    whole = damaged.read_bytes()
    seed = random.Random(1)
    for number in range(25):
        size = len(whole) if number == 0 else seed.randrange(len(whole))
        cut = tmp_path / str(number) / damaged.name
        cut.parent.mkdir()
        cut.write_bytes(whole[:size])
        (cut.parent / 'new').mkdir()
        summary = rebuild(cut, cut.parent / 'new', 'case', 'none', KEY)
        validate(cut.parent / 'new/case_0.mcap.sealed', [KEY])
        with unseal(cut.parent / 'new/case_0.mcap.sealed', [KEY]) as file:
            (cut.parent / 'new/case_0.mcap').write_bytes(file.read())
        got = messages(cut.parent / 'new')
        assert got == written[:len(got)]
        assert summary.messages == len(got)
        assert number or got == written
        (cut.parent / 'new/case_0.mcap').unlink()
        assert not files_with_plaintext(tmp_path)


def test_without_its_key_a_partial_case_waits_and_with_it_is_recovered(tmp_path):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    folder, written = a_partial(spool)
    spool.close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for key, why in ((None, 'is sealed, and no key was given'),
                     (OTHER, f'is sealed with key {KEY.id.hex()}')):
        said = []
        again = an_open_spool(spool.root, key=key, log=said.append)
        assert not list(again.recover())
        again.close()
        assert [why in text and 'stays for the next start' in text for text in said] == [True]
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    right = an_open_spool(spool.root, key=KEY)
    [content] = right.recover()
    assert content['recovered']
    assert content['messages'] == len(written)
    [case] = cases(spool.root)
    assert case.state is State.RECORDED
    assert not files_with_plaintext(spool.root)
    assert messages(unsealed(case.folder, tmp_path)) == written


def test_a_crash_within_a_sealed_recovery_loses_nothing(tmp_path):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    folder, written = a_partial(spool)
    name = folder.name.removesuffix('.partial')
    draft = (folder / 'draft.json').read_bytes()
    (folder / 'rebuilt').mkdir()        # a kill came while it was being written
    half = next(folder.glob('*.sealed')).read_bytes()[:500]
    (folder / 'rebuilt' / f'{name}_0.mcap.sealed').write_bytes(half)
    [content] = spool.recover()
    assert content['messages'] == len(written)
    done = tmp_path / 'spool' / name
    # A kill after the manifest, before the last rename: the files are checked by their plaintext.
    done.rename(folder)
    assert [found['messages'] for found in spool.recover()] == [len(written)]
    # A manifest that the bag does not bear out: it is rebuilt.
    done.rename(folder)
    (folder / 'draft.json').write_bytes(draft)
    content['files'][0]['sha256'] = '0' * 64
    (folder / 'manifest.json').write_text(json.dumps(content))
    [content] = spool.recover()
    assert content['messages'] == len(written)
    validate(next(done.glob('*.sealed')), [KEY])
    assert [case.state for case in cases(spool.root)] == [State.RECORDED]


def test_nothing_that_was_flushed_is_lost_by_kill_9(tmp_path):
    script = (
        'import sys; from making import *; from edge_case_recorder.sealing import Key\n'
        f'from pathlib import Path; spool = an_open_spool(Path({str(tmp_path)!r}) / "spool", '
        'key=Key(bytes(range(32))))\n'
        'draft = a_draft(); folder = spool.begin(draft)\n'
        'writer = BagWriter(folder, draft["case_id"], "zstd", spool.key)\n'
        'n = 0\n'
        'while True:\n'
        '    n += len(fill(writer, 60, NOON_NS + n * S, size=5000)); writer.flush()\n'
        '    print(n, flush=True)\n')
    with subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True,
                          cwd=Path(__file__).parent) as process:
        for _ in range(5):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        told = max([told, *map(int, process.stdout.read().split())])
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    [content] = spool.recover()
    assert content['messages'] >= told
    validate(next((spool.root / content['case_id']).glob('*.sealed')), [KEY])


def test_what_crashed_before_its_first_flush_is_broken_and_kept(tmp_path):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    for number, size in enumerate((0, 20, 48, 60)):
        folder, _ = a_partial(spool, stamp_ns=NOON_NS + number * S)
        sealed = next(folder.glob('*.sealed'))
        sealed.write_bytes(sealed.read_bytes()[:size])
    assert not list(spool.recover())
    assert [case.state for case in cases(spool.root)] == [State.BROKEN] * 4


def test_plain_cases_of_before_stay_plain_and_are_recovered_and_sent(tmp_path):
    plain = an_open_spool(tmp_path / 'spool')
    _, written = a_partial(plain)
    a_case(plain, stamp_ns=NOON_NS + 100 * S)
    plain.close()
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    [content] = spool.recover()
    assert messages(spool.root / content['case_id']) == written
    a_case(spool, stamp_ns=NOON_NS + 200 * S)
    assert [view.sealed for view in SpoolReader(spool.root).look().cases] == [False, False, True]
    store = FolderStore(tmp_path / 'bucket')
    assert Uploader(Carrier(spool.root, store, keys=(KEY,))).upload_all() == (3, [])


def test_a_floor_counts_what_sealing_adds(tmp_path):
    free = [1_000_000]
    plain = an_open_spool(tmp_path / 'plain', free_bytes=lambda _: free[0])
    sealed = an_open_spool(tmp_path / 'sealed', free_bytes=lambda _: free[0], key=KEY)
    assert plain.make_room(1_000_000)
    assert not sealed.make_room(1_000_000)
    assert sealed.make_room(999_600)


# From the ring to the bucket

def test_a_case_leaves_no_plaintext_before_it_is_in_the_bucket(tmp_path):
    """Worker, uploader, folder store; every file of the spool is read all the time meanwhile."""
    ring = Ring(5 * S)
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    finished, seen, looks, ends = threading.Event(), [], [0], threading.Event()
    contents = []

    def look():
        while not ends.is_set():
            seen.extend(files_with_plaintext(spool.root))
            looks[0] += 1

    watching = threading.Thread(target=look)
    worker = Worker(ring, spool, {'/scan': SCAN, '/task': TASK}, Identity('robot_7', 'amr'),
                    compression='none', flush_s=0.05, max_open=2,
                    on_case=lambda content: (contents.append(content), finished.set()),
                    log=lambda _, text: contents.append(text))
    for topic in ('/scan', '/task'):
        ring.add_topic(topic, 10_000_000)
    sent = [string_cdr(MARKER.decode() * 50 + str(number)) for number in range(300)]
    watching.start()
    worker.start()
    try:
        began_ns = time.monotonic_ns()
        for number, data in enumerate(sent):
            ring.append(('/scan', '/task')[number % 2], began_ns + number, data)
        worker.submit(a_trigger(now_ns=time.monotonic_ns(), before_s=1.0, after_s=0.2), NOON_NS, {})
        assert finished.wait(10.0)
    finally:
        worker.stop()
    [content] = contents
    assert content['messages'] == len(sent)
    case = spool.root / content['case_id']
    assert sorted(path.name for path in case.iterdir()) == [
        f'{case.name}_0.mcap.sealed', 'manifest.json', 'metadata.yaml']
    store = FolderStore(tmp_path / 'bucket')
    assert Uploader(Carrier(spool.root, store, keys=(KEY,))).upload_all() == (1, [])
    ends.set()
    watching.join()
    assert looks[0] > 3
    assert not seen
    assert files_with_plaintext(tmp_path / 'bucket')    # the marker is one that would be found
    assert not files_with_plaintext(spool.root)
    there = tmp_path / 'bucket' / manifest.object_folder(content)
    assert [bytes(data) for _, _, data in messages(there)] == sent
    assert [manifest.describe(there / entry['path']) for entry in content['files']] == \
        content['files']
    with unseal(next(case.glob('*.sealed')), [KEY]) as file:
        assert file.read() == (there / f'{case.name}_0.mcap').read_bytes()
    assert verify(manifest.read(case), store, download=True).ok


def test_without_the_key_a_sealed_case_waits_and_others_go(tmp_path):
    sealed = an_open_spool(tmp_path / 'spool', key=KEY)
    waiting = a_case(sealed, priority=90)
    sealed.close()
    plain = an_open_spool(tmp_path / 'spool')
    going = a_case(plain, stamp_ns=NOON_NS + S, priority=10)
    for keys in ((), (OTHER,)):
        clock = FakeClock()
        store = FolderStore(tmp_path / f'bucket{len(keys)}')
        (going / 'uploaded.json').unlink(missing_ok=True)
        uploader = an_uploader(plain.root, store, clock, keys=keys)
        sent, [trouble] = uploader.upload_all()
        assert (sent, trouble.trouble) == (1, Trouble.SEALED)
        assert 'is sealed' in str(trouble)
        assert not list((tmp_path / f'bucket{len(keys)}').rglob(f'*{waiting.name}*'))
        states = {case.id: case.state for case in cases(plain.root)}
        assert states == {waiting.name: State.RECORDED, going.name: State.UPLOADED}
    # The next uploader has it, among others.
    bucket = (tmp_path / 'bucket').as_uri()
    files = [str(a_key_file(tmp_path, OTHER, 'old')), str(a_key_file(tmp_path))]
    assert uploader_command(['--spool', str(plain.root), '--bucket', bucket, '--once', '--key',
                             files[0]]) == 1
    assert uploader_command(['--spool', str(plain.root), '--bucket', bucket, '--once', '--key',
                             files[0], '--key', files[1]]) == 0
    assert verify(manifest.read(waiting), bucket, download=True).ok


def test_an_uploader_with_a_bad_key_file_does_not_start(tmp_path, capsys):
    path = a_key_file(tmp_path)
    path.chmod(0o644)
    assert uploader_command(['--spool', str(tmp_path), '--bucket', 'file:///nowhere', '--once',
                             '--key', str(path)]) == 2
    assert 'others may read it' in capsys.readouterr().err


def test_an_upload_goes_on_within_a_sealed_object_after_a_kill(tmp_path):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    case = a_case(spool, size=60_000)
    link = InProcess(rules_of(), FakeClock())
    sent_by = []
    for _ in range(4):      # each a new process, that is killed after one chunk
        carrier = an_uploader(spool.root, a_store(link, chunks=ChunkSize(QUANTUM, QUANTUM)),
                              link.clock, keys=(KEY,)).carrier
        carrier.step()
        sent_by.append(sum(count for _, count in link.passed))
    assert an_uploader(spool.root, a_store(link, chunks=ChunkSize(QUANTUM, QUANTUM)),
                       link.clock, keys=(KEY,)).upload_all() == (1, [])
    content = manifest.read(case)
    assert verify(content, a_store(link), download=True).ok
    assert sent_by[-1] > sent_by[0] > 0
    whole = sum(entry['bytes'] for entry in content['files']) + \
        (case / manifest.MANIFEST).stat().st_size
    assert sum(count for _, count in link.passed) < whole + QUANTUM
    assert not list(case.glob('.*'))


@pytest.mark.parametrize('damage', ['flipped', 'cut', 'swapped'])
def test_a_sealed_file_that_was_changed_is_told_to_a_person(tmp_path, damage):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    case = a_case(spool)
    other = a_case(spool, stamp_ns=NOON_NS + S)
    path = next(case.glob('*.sealed'))
    data = bytearray(path.read_bytes())
    if damage == 'flipped':
        data[len(data) // 2] ^= 1
    elif damage == 'cut':
        del data[-30:]
    else:
        data[:] = next(other.glob('*.sealed')).read_bytes()
    path.write_bytes(data)
    store = FolderStore(tmp_path / 'bucket')
    sent, [trouble] = Uploader(Carrier(spool.root, store, keys=(KEY,))).upload_all()
    assert (sent, trouble.trouble) == (1, Trouble.DAMAGED)
    assert json.loads((case / 'failed.json').read_text())['trouble'] == 'damaged'


def test_over_http_a_sealed_file_that_rots_while_it_is_sent_is_told_too(tmp_path, monkeypatch):
    """The HTTP library must not take it for a broken link, which is tried again for ever."""
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    case = a_case(spool, size=60_000)
    with StrictBucket() as server:
        monkeypatch.setenv('STORAGE_EMULATOR_HOST', server.endpoint)
        store = GcsStore('cases', 'fleet', chunks=ChunkSize(QUANTUM, QUANTUM))
        carrier = Carrier(spool.root, store, keys=(KEY,))
        assert [carrier.step().did for _ in range(2)] == ['carried'] * 2
        path = next(case.glob('*.sealed'))
        data = bytearray(path.read_bytes())
        data[-400_000] ^= 1
        path.write_bytes(data)
        sent, [trouble] = Uploader(carrier).upload_all()
    assert (sent, trouble.trouble) == (0, Trouble.DAMAGED)
    assert 'was changed' in str(trouble)


def test_a_sealed_file_that_rots_while_it_is_sent_is_told_to_a_person(tmp_path):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    case = a_case(spool, size=60_000)
    link = InProcess(rules_of(), FakeClock())
    uploader = an_uploader(spool.root, a_store(link, chunks=ChunkSize(QUANTUM, QUANTUM)),
                           link.clock, keys=(KEY,))
    uploader.carrier.step()
    uploader.carrier.step()
    path = next(case.glob('*.sealed'))
    data = bytearray(path.read_bytes())
    data[-400_000] ^= 1
    path.write_bytes(data)
    sent, [trouble] = uploader.upload_all()
    assert (sent, trouble.trouble) == (0, Trouble.DAMAGED)


# For people

def test_a_case_is_unsealed_for_every_reader(tmp_path, capsys):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    case = a_case(spool, messages=60)
    folder = unsealed(case, tmp_path)
    assert capsys.readouterr().out == f'{folder}\n'
    assert len(messages(folder)) == 60
    assert manifest.read(folder) == manifest.read(case)
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())] == \
        [0o700, 0o600, 0o600, 0o600]
    assert cases_command(['unseal', str(case), '--key', str(tmp_path / 'key'), '--output',
                          str(tmp_path)]) == 1
    assert 'is there already' in capsys.readouterr().err


@pytest.mark.parametrize(('damage', 'why'), [('key', 'is sealed with key'),
                                             ('flipped', 'was changed'),
                                             ('manifest', 'not what its manifest says')])
def test_what_cannot_be_unsealed_leaves_nothing(tmp_path, capsys, damage, why):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    case = a_case(spool)
    sealed = next(case.glob('*.sealed'))
    if damage == 'flipped':
        data = bytearray(sealed.read_bytes())
        data[200] ^= 1
        sealed.write_bytes(data)
    elif damage == 'manifest':
        content = json.loads((case / 'manifest.json').read_text())
        content['files'][0]['sha256'] = '0' * 64
        (case / 'manifest.json').write_text(json.dumps(content))
    key = a_key_file(tmp_path, OTHER if damage == 'key' else KEY)
    assert cases_command(['unseal', str(case), '--key', str(key), '--output',
                          str(tmp_path / 'out')]) == 1
    assert why in capsys.readouterr().err
    assert os.listdir(tmp_path / 'out') == []


def test_readers_say_that_a_case_is_sealed_and_what_to_do(tmp_path, capsys):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    case = a_case(spool)
    for path in (case, next(case.glob('*.sealed')), spool.root):
        with pytest.raises(BagError, match='is sealed; unseal it with: ros2 run '
                                           'edge_case_recorder cases unseal CASE --key FILE'):
            bags_under(path)
    assert case_report([str(case), '--output', str(tmp_path / 'page.html')]) == 1
    assert 'is sealed; unseal it with' in ' '.join(capsys.readouterr().err.split())
    rules = tmp_path / 'rules.yaml'
    rules.write_text('schema_version: 1\ntriggers: {}\n')
    assert replay_triggers(['--triggers', str(rules), str(case)]) != 0
    assert 'is sealed; unseal it with' in ' '.join(capsys.readouterr().err.split())
    store = FolderStore(tmp_path / 'bucket')
    Uploader(Carrier(spool.root, store, keys=(KEY,))).upload_all()
    assert verify(manifest.read(case), store).ok        # needs no key: it asks the bucket
    assert cases_command(['--spool', str(spool.root)]) == 0
    assert 'sealed' in capsys.readouterr().out


def test_a_rebuild_without_the_key_writes_nothing(tmp_path):
    spool = an_open_spool(tmp_path / 'spool', key=KEY)
    folder, _ = a_partial(spool)
    (tmp_path / 'new').mkdir()
    for key in (None, OTHER):
        with pytest.raises(NoKeyError):
            rebuild(next(folder.glob('*.sealed')), tmp_path / 'new', 'case', 'none', key)
    assert os.listdir(tmp_path / 'new') == []
    shutil.rmtree(folder)
