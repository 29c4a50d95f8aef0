"""The real uploader process against the strict bucket over HTTP: faults, and kill -9 anywhere.

SPINAL_LONG=1 kills 200 times instead of 10, and measures the cap for twelve seconds.
"""

import itertools
import os
import random
import signal

import google.auth.credentials
import pytest
from making import NOON_NS, S, a_case, an_item, an_open_spool

from edge_case_recorder import manifest
from edge_case_recorder.bucket import verify
from edge_case_recorder.spool import State, cases
from edge_case_recorder.store import GcsStore, StoreError, Trouble, open_store
from edge_case_recorder.strict_bucket.campaign import (
    cap_ratio,
    end,
    kill_uploads,
    start_uploader,
    until,
)
from edge_case_recorder.strict_bucket.faults import Fault, Kind
from edge_case_recorder.strict_bucket.ledger import sent_again
from edge_case_recorder.strict_bucket.server import StrictBucket
from edge_case_recorder.uploading.pace import ChunkSize
from edge_case_recorder.uploading.protocol import QUANTUM
from edge_case_recorder.uploading.session import session_path
from edge_case_recorder.uploading.transport import HttpTransport

LONG = bool(os.environ.get('SPINAL_LONG'))
KILLS = 200 if LONG else 10
RECOVERY_S = 5.0


@pytest.fixture
def strict():
    with StrictBucket() as server:
        yield server


@pytest.fixture
def here(strict, monkeypatch):
    """This process finds the server too."""
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', strict.endpoint)
    return strict


@pytest.fixture
def spool(tmp_path):
    return an_open_spool(tmp_path / 'spool')


def states(spool):
    return {case.state for case in cases(spool.root)}


def a_big_file(folder, size=6 * QUANTUM + 77):
    path = folder / 'a.mcap'
    path.write_bytes(random.Random(3).randbytes(size))
    return path


def to_the_end(sending):
    """Steps through troubles that pass; the object, and the troubles on the way."""
    troubles = []
    while len(troubles) < 50:
        try:
            found = sending.step()
        except StoreError as error:
            troubles.append(error.trouble)
            continue
        if found is not None:
            return found, troubles
    raise AssertionError(troubles)


@pytest.mark.parametrize(('fault', 'troubles'), [
    (Fault(Kind.CUT, on='PUT', bytes=QUANTUM + 999), [Trouble.UNREACHABLE]),
    (Fault(Kind.CUT, on='POST', bytes=0), [Trouble.UNREACHABLE]),
    (Fault(Kind.LOST_REPLY, on='PUT', times=5), [Trouble.UNREACHABLE] * 5),
    (Fault(Kind.LOST_REPLY, on='POST'), [Trouble.UNREACHABLE]),
    (Fault(Kind.STALL, on='PUT', bytes=10_000, seconds=3.0), [Trouble.UNREACHABLE]),
    (Fault(Kind.STATUS, on='PUT', times=3, status=503), [Trouble.UNREACHABLE] * 3),
    (Fault(Kind.STATUS, on='upload', status=403, reason='rateLimitExceeded'),
     [Trouble.UNREACHABLE]),
    (Fault(Kind.STATUS, on='PUT', status=401), [Trouble.CREDENTIALS]),
    (Fault(Kind.STATUS, on='upload', status=403, reason='quotaExceeded'), [Trouble.FULL]),
    (Fault(Kind.EXPIRE, on='PUT'), [Trouble.EXPIRED]),
    (Fault(Kind.KEEP_LESS, on='PUT', bytes=QUANTUM), []),
    (Fault(Kind.KEEP_LESS, on='PUT', bytes=8 * QUANTUM), [Trouble.UNREACHABLE]),
], ids=lambda value: f'{value.kind}-{value.on}-{value.status}' if isinstance(value, Fault) else '')
def test_each_fault_over_a_real_connection(here, tmp_path, fault, troubles):
    path = a_big_file(tmp_path)
    store = GcsStore('cases', 'fleet', transport=HttpTransport((2.0, 1.0)),
                     chunks=ChunkSize(first=2 * QUANTUM, largest=2 * QUANTUM))
    here.faults.order(fault)
    item = an_item('a.mcap', path)
    found, met = to_the_end(store.sending(item))
    assert met == troubles
    assert (found.bytes, found.crc32c) == (item.bytes, item.crc32c)
    assert store.get('a.mcap') == path.read_bytes()
    assert here.rules.created['fleet/a.mcap'] == 1
    for again in sent_again(here.rules.arrivals):
        assert again.bytes <= again.chunk <= 2 * QUANTUM


def test_a_session_that_names_another_server_gets_no_token_and_no_bytes(here, tmp_path):
    path = a_big_file(tmp_path)
    item = an_item('a.mcap', path)
    store = GcsStore('cases', '', chunks=ChunkSize(first=QUANTUM, largest=QUANTUM))
    store.sending(item).step()
    kept = session_path(item)
    with StrictBucket() as other:
        kept.write_text(kept.read_text().replace(here.endpoint, other.endpoint))
        found, met = to_the_end(store.sending(item))
        assert met == [Trouble.EXPIRED]
        assert other.seen == []
    assert found.bytes == item.bytes


def test_a_token_that_is_refused_is_renewed_and_the_chunk_goes_again_whole(strict, tmp_path):
    """With google-auth's own session: a token that the server no longer takes, in mid-object."""
    class Tokens(google.auth.credentials.Credentials):
        number = 0

        def refresh(self, _request):
            self.number += 1
            self.token = f'token-{self.number}'

    store = GcsStore('cases', 'fleet', chunks=ChunkSize(first=QUANTUM, largest=QUANTUM),
                     transport=HttpTransport(endpoint=strict.endpoint, credentials=Tokens()))
    item = an_item('a.mcap', a_big_file(tmp_path))
    sending = store.sending(item)
    strict.faults.token = 'token-1'
    assert sending.step() is None
    strict.faults.token = 'token-2'
    found, met = to_the_end(sending)
    assert met == [Trouble.CREDENTIALS]
    assert found == store.stat('a.mcap')
    assert (found.bytes, found.crc32c) == (item.bytes, item.crc32c)
    strict.faults.token = 'none of them'
    with pytest.raises(StoreError, match='credentials'):
        store.stat('a.mcap')


def test_nobody_at_the_other_end_is_one_sentence_without_secrets(monkeypatch):
    with StrictBucket() as gone:
        monkeypatch.setenv('STORAGE_EMULATOR_HOST', gone.endpoint)
    with pytest.raises(StoreError, match=r'unreachable: .*refused') as caught:
        open_store('gs://cases').stat('secret-name')
    assert 'secret-name' not in str(caught.value)


def test_thirty_percent_of_all_requests_fail_and_everything_arrives(strict, spool):
    strict.faults.share = 0.3
    folders = [a_case(spool, stamp_ns=NOON_NS + number * S, messages=60, size=60_000)
               for number in range(2)]
    process = start_uploader(strict, spool.root)
    try:
        assert until(lambda: states(spool) == {State.UPLOADED}, 60.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert 'upload_id' not in process.stdout.read()
    finally:
        end(process)
    whole(strict, folders)


def whole(strict, folders):
    """Every object of every case is there, equal, and came to be once."""
    for folder in folders:
        content = manifest.read(folder)
        names = [entry['path'] for entry in content['files']] + [manifest.MANIFEST]
        for name in names:
            assert strict.rules.objects[f'fleet/{manifest.object_folder(content)}/{name}'] == \
                (folder / name).read_bytes()
    assert len(strict.rules.objects) == 3 * len(folders)
    assert set(strict.rules.created.values()) == {1}


def test_killed_at_random_points_nothing_is_lost_doubled_or_sent_again_beyond_a_chunk(
        strict, spool, monkeypatch, capsys):
    stamps = itertools.count(NOON_NS, S)

    def new_case(chance):
        """Small ones go in one request, large ones by a session; important ones overtake."""
        return a_case(spool, stamp_ns=next(stamps), messages=100, priority=chance.choice((10, 90)),
                      size=chance.choice((100, 10_000, 60_000, 150_000)))
    figures = kill_uploads(strict, spool.root, new_case, KILLS)
    with capsys.disabled():
        print(f'\n{figures}')
    assert (figures.lost, figures.duplicates, figures.beyond_chunk) == (0, 0, 0)
    assert figures.tried == KILLS
    assert figures.recovery_s_max < RECOVERY_S
    assert states(spool) == {State.UPLOADED}
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', strict.endpoint)
    assert all(verify(manifest.read(case.folder), f'{strict.uri}/fleet', download=True).ok
               for case in cases(spool.root))


def test_a_new_process_goes_on_within_the_object(strict, spool):
    """The smallest possible proof: half an object, kill -9, and only the rest is sent."""
    a_case(spool, messages=100, size=100_000)       # 10 MB
    strict.rate_bytes_s = 5e6
    process = start_uploader(strict, spool.root)
    try:
        assert until(lambda: any(each.status == 308 for each in strict.rules.arrivals), 20.0)
    finally:
        end(process)
    persisted = max(len(session.data) for session in strict.rules.sessions.values())
    assert persisted > 0
    last = start_uploader(strict, spool.root, '--once')
    assert last.wait(60) == 0
    last.stdout.close()
    assert len(strict.rules.sessions) == 1
    assert all(each.bytes <= each.chunk for each in sent_again(strict.rules.arrivals))
    again = sum(each.bytes for each in sent_again(strict.rules.arrivals))
    sent = sum(each.received for each in strict.rules.arrivals if each.session)
    assert sent == len(next(iter(strict.rules.objects.values()))) + again
    assert states(spool) == {State.UPLOADED}


@pytest.mark.skipif(not LONG, reason='SPINAL_LONG=1 measures for twelve seconds')
def test_the_cap_over_ten_seconds_of_a_real_link(strict, spool, capsys):
    a_case(spool, messages=100, size=400_000)
    ratio = cap_ratio(strict, spool.root, 2e6)
    with capsys.disabled():
        print(f'\n{ratio:.3f} of the cap in the busiest ten seconds')
    assert 0.95 <= ratio <= 1.05
