"""The strict bucket keeps Google's rules: Google's own client gets through, sloppy ones do not."""

import json
import subprocess
import sys
import urllib.request

import pytest
from google.api_core.exceptions import BadRequest, PreconditionFailed
from google.cloud import storage
from test_resuming import a_big_file

from edge_case_recorder import manifest
from edge_case_recorder.strict_bucket.faults import Fault, Faults, Kind, read_fault
from edge_case_recorder.strict_bucket.ledger import Again, sent_again
from edge_case_recorder.strict_bucket.rules import QUANTUM, Arrival, Asked, Rules
from edge_case_recorder.strict_bucket.server import StrictBucket

DATA = bytes(range(256)) * 2048      # two quanta
SIZE = len(DATA)


@pytest.fixture
def rules():
    return Rules('cases')


def ask(rules, method, target, headers=(), body=b'', declared=None):
    return rules.handle(Asked(method, target, dict(headers), body,
                              len(body) if declared is None else declared))


def a_session(rules, size=SIZE, crc32c=None, query='&ifGenerationMatch=0'):
    answer = ask(rules, 'POST',
                 f'/upload/storage/v1/b/cases/o?uploadType=resumable&name=a{query}',
                 {'x-upload-content-length': str(size)},
                 json.dumps({'crc32c': crc32c or manifest.crc32c_of(DATA)}).encode())
    assert answer.status == 200
    return answer.headers['Location'].removeprefix(rules.endpoint)


def chunk(rules, session, first, last, size=SIZE, body=None, declared=None):
    return ask(rules, 'PUT', session, {'content-range': f'bytes {first}-{last}/{size}'},
               DATA[first:last + 1] if body is None else body, declared)


def state(rules, session, size=SIZE):
    answer = ask(rules, 'PUT', session, {'content-range': f'bytes */{size}'})
    return answer.status, answer.headers.get('Range')


@pytest.fixture
def client(monkeypatch):
    with StrictBucket() as server:
        monkeypatch.setenv('STORAGE_EMULATOR_HOST', server.endpoint)
        yield server, storage.Client(project='none').bucket('cases')


def test_googles_own_client_gets_through_by_both_ways(client, tmp_path):
    server, bucket = client
    small = a_big_file(tmp_path)
    bucket.blob('whole').upload_from_filename(small, if_generation_match=0, checksum='crc32c')
    assert server.rules.objects['whole'] == small.read_bytes()
    (tmp_path / 'large').mkdir()
    path = a_big_file(tmp_path / 'large', 9 << 20)      # beyond 8 MiB it takes a session
    bucket.blob('chunks', chunk_size=4 << 20).upload_from_filename(
        path, if_generation_match=0, checksum='crc32c')
    assert server.rules.objects['chunks'] == path.read_bytes()
    assert [each.first for each in server.rules.arrivals if each.session] == [0, 4 << 20, 8 << 20]
    assert bucket.blob('chunks').download_as_bytes(checksum='crc32c') == path.read_bytes()
    assert bucket.get_blob('nothing') is None
    for taken in (small, path):
        with pytest.raises(PreconditionFailed):
            bucket.blob('whole').upload_from_filename(taken, if_generation_match=0)
    wrong = bucket.blob('wrong')
    wrong.crc32c = 'AAAAAA=='
    with pytest.raises(BadRequest):
        wrong.upload_from_filename(path)
    assert 'wrong' not in server.rules.objects


def test_chunks_in_order_make_the_object_once(rules):
    session = a_session(rules)
    assert state(rules, session) == (308, None)
    assert chunk(rules, session, 0, QUANTUM - 1).headers == {'Range': f'bytes=0-{QUANTUM - 1}'}
    assert state(rules, session) == (308, f'bytes=0-{QUANTUM - 1}')
    assert 'a' not in rules.objects
    done = chunk(rules, session, QUANTUM, SIZE - 1)
    assert (done.status, json.loads(done.body)['crc32c']) == (200, manifest.crc32c_of(DATA))
    assert rules.objects == {'a': DATA}
    assert state(rules, session) == (200, None)     # asked again, it says the same
    assert rules.created == {'a': 1}


@pytest.mark.parametrize(('first', 'last', 'size', 'declared'), [
    (QUANTUM, SIZE - 1, SIZE, None),            # a gap
    (0, QUANTUM, SIZE, None),                   # no multiple of 256 KiB
    (0, QUANTUM - 1, SIZE + 1, None),           # another size than was told
    (0, SIZE, SIZE, None),                      # beyond the end
    (0, QUANTUM - 1, SIZE, 5),                  # Content-Length differs
])
def test_a_chunk_that_does_not_fit_is_refused_and_leaves_no_trace(rules, first, last, size,
                                                                  declared):
    session = a_session(rules)
    body = DATA[:5] if declared else None
    assert chunk(rules, session, first, last, size, body).status == 400
    assert state(rules, session) == (308, None)


def test_a_link_that_breaks_leaves_whole_quanta(rules):
    session = a_session(rules)
    chunk(rules, session, 0, SIZE - 1, body=DATA[:QUANTUM + 500], declared=SIZE)
    assert state(rules, session) == (308, f'bytes=0-{QUANTUM - 1}')
    # What is known already is ignored when it comes again, even if it differs.
    assert chunk(rules, session, 0, SIZE - 1, body=bytes(QUANTUM) + DATA[QUANTUM:]).status == 200
    assert rules.objects == {'a': DATA}
    assert sent_again(rules.arrivals) == [Again('a', QUANTUM + 500, SIZE, 1)]


def test_wrong_bytes_and_a_name_that_was_taken_meanwhile_end_the_session(rules):
    session = a_session(rules, crc32c='AAAAAA==')
    assert chunk(rules, session, 0, SIZE - 1).status == 400
    assert state(rules, session)[0] == 410
    session = a_session(rules)
    rules.objects['a'] = b'other'
    assert chunk(rules, session, 0, SIZE - 1).status == 412
    assert rules.objects == {'a': b'other'}
    assert ask(rules, 'POST', '/upload/storage/v1/b/cases/o?uploadType=resumable&name=a'
               '&ifGenerationMatch=0', {'x-upload-content-length': '1'}).status == 412


def test_sessions_are_cancelled_expire_and_are_unknown(rules):
    cancelled, expired = a_session(rules), a_session(rules)
    assert ask(rules, 'DELETE', cancelled).status == 499
    assert state(rules, cancelled)[0] == 499
    rules.expire_sessions()
    assert state(rules, expired)[0] == 410
    assert state(rules, expired.replace('session-', 'nobodys-'))[0] == 404
    assert chunk(rules, expired, 0, SIZE - 1).status == 410


def test_a_question_is_a_question(rules):
    session = a_session(rules)
    assert ask(rules, 'PUT', session, {'content-range': 'bytes */*'}).status == 308
    assert state(rules, session, SIZE + 1)[0] == 400
    assert ask(rules, 'PUT', session, {'content-range': f'bytes */{SIZE}'}, b'x').status == 400
    assert ask(rules, 'PUT', session, {'content-range': 'bytes 0-1'}, b'xx').status == 400
    assert ask(rules, 'GET', session).status == 405


def test_what_was_sent_twice_counts_by_session_and_blames_the_request_before():
    arrivals = [Arrival('a', 's0', 0, 100, 60, 0), Arrival('a', 's0', 50, 100, 100, 308),
                Arrival('a', 's0', 150, 10, 10, 200), Arrival('a', 's1', 0, 100, 100, 308),
                Arrival('b', '', 0, 70, 30, 0), Arrival('b', '', 0, 70, 70, 200)]
    assert sent_again(arrivals) == [Again('a', 10, 100, 1), Again('b', 30, 70, 5)]
    assert sent_again(arrivals, sessions_last=True) == [
        Again('a', 10, 100, 1), Again('a', 100, 10, 3), Again('b', 30, 70, 5)]


def test_faults_are_ordered_over_http_and_met_once(client):
    server, _ = client

    def post(content):
        with urllib.request.urlopen(urllib.request.Request(
                f'{server.endpoint}/faults', json.dumps(content).encode(), method='POST')) as reply:
            return reply.status
    assert post([{'kind': 'status', 'on': 'GET', 'status': 503, 'retry_after': '7'}]) == 204
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f'{server.endpoint}/storage/v1/b/cases')
    assert (caught.value.code, caught.value.headers['Retry-After']) == (503, '7')
    with urllib.request.urlopen(f'{server.endpoint}/storage/v1/b/cases') as reply:
        assert reply.status == 200
    with pytest.raises(urllib.error.HTTPError) as caught:
        post([{'kind': 'earthquake'}])
    assert caught.value.code == 400


def test_chance_is_seeded_and_has_its_share():
    def met(seed):
        faults = Faults(share=0.3, seed=seed)
        return [faults.meets('PUT /', 1000) for _ in range(2000)]
    assert met(1) == met(1) != met(2)
    share = sum(fault is not None for fault in met(1)) / 2000
    assert share == pytest.approx(0.3, abs=0.03)
    assert {fault.kind for fault in met(1) if fault} == {
        Kind.CUT, Kind.LOST_REPLY, Kind.KEEP_LESS, Kind.STATUS}
    assert read_fault({'kind': 'cut', 'bytes': 5}) == Fault(Kind.CUT, bytes=5)


def test_the_command_serves_and_says_where():
    process = subprocess.Popen([sys.executable, '-m', 'edge_case_recorder.strict_bucket.server'],
                               stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith('gs://cases is served: export STORAGE_EMULATOR_HOST=http://127.')
        endpoint = line.strip().partition('=')[2]
        with urllib.request.urlopen(f'{endpoint}/storage/v1/b/cases') as reply:
            assert json.loads(reply.read())['name'] == 'cases'
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
