"""The resumable protocol against the strict bucket's rules, in process, with faults and kills."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import FakeClock, InProcess, a_store, rules_of
from making import an_item

from edge_case_recorder import manifest
from edge_case_recorder.strict_bucket.faults import Fault, Kind
from edge_case_recorder.strict_bucket.ledger import sent_again
from edge_case_recorder.uploading.pace import ChunkSize
from edge_case_recorder.uploading.protocol import QUANTUM, NameTakenError, ResumableUpload
from edge_case_recorder.uploading.replies import Reply, retry_after_s, trouble_of
from edge_case_recorder.uploading.trouble import Item, ObjectInfo, StoreError, Trouble

LONG = bool(os.environ.get('SPINAL_LONG'))
FAULTS = st.one_of(
    st.none(), st.just('kill'),
    st.builds(Fault, st.just(Kind.CUT), bytes=st.integers(0, 3 * QUANTUM)),
    st.builds(Fault, st.sampled_from([Kind.LOST_REPLY, Kind.EXPIRE])),
    st.builds(Fault, st.just(Kind.KEEP_LESS), bytes=st.integers(1, 4).map(QUANTUM.__mul__)),
    st.builds(Fault, st.just(Kind.STATUS),
              status=st.sampled_from([400, 401, 403, 404, 408, 410, 429, 499, 500, 503])))
PASSING = (Trouble.UNREACHABLE, Trouble.EXPIRED, Trouble.CREDENTIALS, Trouble.REFUSED,
           Trouble.NO_BUCKET)


def outcome(step):
    try:
        return step(), None
    except StoreError as error:
        return None, error


def to_the_end(sending):
    """Steps until the object is whole; returns it."""
    while (found := sending.step()) is None:
        pass
    return found


def an_upload(size=3 * QUANTUM, session_url=''):
    return ResumableUpload(Item('a', Path('a'), size, 'AAAAAA==', 'text/plain'), 'http://init',
                           session_url)


def in_session(size=3 * QUANTUM, persisted=0):
    upload = an_upload(size, 'http://session')
    upload.request(QUANTUM)
    headers = {'range': f'bytes=0-{persisted - 1}'} if persisted else {}
    upload.take(Reply(308, headers))
    return upload


@settings(max_examples=3000 if LONG else 120, deadline=None,
          suppress_health_check=[HealthCheck.too_slow])
@given(sizes=st.lists(st.integers(0, 5 * QUANTUM), min_size=1, max_size=2),
       chunk=st.integers(1, 3), happens=st.lists(FAULTS, max_size=14))
def test_whatever_happens_every_object_arrives_once_and_whole(sizes, chunk, happens):
    """Each request meets the next fault of the list, 'kill' is a new process; then all is well."""
    clock, rules = FakeClock(), rules_of()
    transport = InProcess(rules, clock)
    chunks = ChunkSize(first=chunk * QUANTUM, largest=3 * QUANTUM)
    happens = list(happens)
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate(sizes):
            path = Path(folder, f'{number}.mcap')
            path.write_bytes(bytes([number + 1]) * (size // 2) + os.urandom(size - size // 2))
            item = an_item(path.name, path)
            sending = a_store(transport, chunks=chunks).sending(item)
            for _ in range(60):
                fault = happens.pop(0) if happens else None
                if fault == 'kill':
                    sending = a_store(transport, chunks=chunks).sending(item)
                elif fault is not None:
                    transport.faults.ordered[:] = [fault]
                found, trouble = outcome(sending.step)
                assert trouble is None or trouble.trouble in PASSING
                assert 'upload_id' not in str(trouble)
                if found is not None:
                    break
            assert found == ObjectInfo(item.bytes, item.crc32c)
            assert rules.objects[f'fleet/{path.name}'] == path.read_bytes()
            assert rules.created[f'fleet/{path.name}'] == 1
            assert [each.name for each in Path(folder).glob('.*')] == []
    for again in sent_again(rules.arrivals):
        assert again.bytes <= again.chunk <= 3 * QUANTUM + 1000


@settings(max_examples=300, deadline=None)
@given(status=st.integers(100, 599), body=st.binary(max_size=60),
       header=st.dictionaries(st.sampled_from(['range', 'location', 'retry-after']),
                              st.sampled_from(['', 'bytes=0-5', 'bytes=0-99999999999', 'x',
                                               'bytes=3-9', '-1', '1e9', 'http://elsewhere'])),
       asked=st.sampled_from(['session', 'state', 'chunk']))
def test_no_reply_whatever_it_is_ends_in_anything_but_a_named_outcome(status, body, header, asked):
    upload = an_upload() if asked == 'session' else in_session() if asked == 'chunk' else \
        an_upload(session_url='http://session')
    upload.request(QUANTUM)
    try:
        found = upload.take(Reply(status, header, body))
    except (StoreError, NameTakenError):
        found = None
    assert found is None or isinstance(found, ObjectInfo)
    assert upload.persisted is None or 0 <= upload.persisted < 3 * QUANTUM
    upload.request(QUANTUM)   # it always knows how to go on


def test_the_requests_are_googles():
    upload = an_upload()
    begin = upload.request(QUANTUM)
    assert (begin.method, begin.url) == ('POST', 'http://init')
    assert begin.headers['X-Upload-Content-Length'] == str(3 * QUANTUM)
    assert b'"crc32c": "AAAAAA=="' in begin.before
    upload.take(Reply(200, {'location': 'http://session'}))
    chunk = upload.request(QUANTUM + 5)
    assert (chunk.method, chunk.url, chunk.piece) == ('PUT', 'http://session', (0, QUANTUM))
    assert chunk.headers['Content-Range'] == f'bytes 0-{QUANTUM - 1}/{3 * QUANTUM}'
    upload.take(Reply(308, {'range': f'bytes=0-{QUANTUM - 1}'}))
    last = upload.request(10 * QUANTUM)
    assert last.headers['Content-Range'] == f'bytes {QUANTUM}-{3 * QUANTUM - 1}/{3 * QUANTUM}'
    upload.take(None)
    question = upload.request(QUANTUM)
    assert (question.piece, question.before) == (None, b'')
    assert question.headers['Content-Range'] == f'bytes */{3 * QUANTUM}'
    found = upload.take(Reply(200, {}, b'{"size": "786432", "crc32c": "AAAAAA=="}'))
    assert found == ObjectInfo(3 * QUANTUM, 'AAAAAA==')


def test_less_persisted_than_sent_goes_on_from_what_is_persisted():
    upload = in_session(size=5 * QUANTUM)
    upload.request(3 * QUANTUM)
    upload.take(Reply(308, {'range': f'bytes=0-{2 * QUANTUM - 1}'}))
    assert upload.request(QUANTUM).piece == (2 * QUANTUM, 3 * QUANTUM)


def test_a_308_without_range_means_nothing_is_there_but_only_when_it_was_asked():
    assert in_session().persisted == 0
    upload = in_session(persisted=QUANTUM)
    upload.request(QUANTUM)
    with pytest.raises(StoreError, match='does not say'):
        upload.take(Reply(308, {}))
    assert upload.persisted is None
    assert upload.request(QUANTUM).headers['Content-Range'] == f'bytes */{3 * QUANTUM}'


def test_a_server_may_have_more_than_this_process_sent_but_not_more_than_there_is():
    """A killed process's last chunk may still be on its way when the next one asks."""
    upload = in_session()
    upload.request(QUANTUM)
    upload.take(Reply(308, {'range': f'bytes=0-{2 * QUANTUM - 1}'}))
    assert upload.request(QUANTUM).piece == (2 * QUANTUM, 3 * QUANTUM)
    with pytest.raises(StoreError, match='more than there is'):
        upload.take(Reply(308, {'range': f'bytes=0-{3 * QUANTUM}'}))
    assert upload.request(QUANTUM).url == 'http://init'


def test_a_server_that_keeps_nothing_is_left_alone_for_a_while():
    upload = in_session(persisted=QUANTUM)
    upload.request(QUANTUM)
    with pytest.raises(StoreError, match='kept nothing') as caught:
        upload.take(Reply(308, {'range': f'bytes=0-{QUANTUM - 1}'}))
    assert caught.value.trouble is Trouble.UNREACHABLE
    assert upload.request(QUANTUM).piece == (QUANTUM, 2 * QUANTUM)


@pytest.mark.parametrize(('status', 'keeps'), [(400, False), (413, False), (401, True),
                                               (403, True), (429, True), (500, True)])
def test_a_session_survives_what_passes_and_ends_with_what_does_not(status, keeps):
    upload = in_session(persisted=QUANTUM)
    upload.request(QUANTUM)
    with pytest.raises(StoreError):
        upload.take(Reply(status, {}))
    again = upload.request(QUANTUM)
    assert again.url == ('http://session' if keeps else 'http://init')
    assert again.piece is None      # it asks before it sends


@pytest.mark.parametrize('status', [404, 410, 499])
def test_a_session_that_is_gone_begins_anew(status):
    upload = in_session(persisted=QUANTUM)
    upload.request(QUANTUM)
    with pytest.raises(StoreError) as caught:
        upload.take(Reply(status, {}))
    assert caught.value.trouble is Trouble.EXPIRED
    assert upload.request(QUANTUM).url == 'http://init'


@pytest.mark.parametrize(('status', 'reason', 'trouble'), [
    (401, 'authError', Trouble.CREDENTIALS), (403, 'forbidden', Trouble.CREDENTIALS),
    (403, 'rateLimitExceeded', Trouble.UNREACHABLE), (403, 'quotaExceeded', Trouble.FULL),
    (403, 'billingNotEnabled', Trouble.FULL), (404, 'notFound', Trouble.NO_BUCKET),
    (408, '', Trouble.UNREACHABLE), (429, 'rateLimitExceeded', Trouble.UNREACHABLE),
    (400, 'invalid', Trouble.REFUSED), (413, 'uploadTooLarge', Trouble.REFUSED),
    (500, '', Trouble.UNREACHABLE), (503, 'backendError', Trouble.UNREACHABLE),
    (507, '', Trouble.FULL)])
def test_each_status_has_its_name(status, reason, trouble):
    body = f'{{"error": {{"errors": [{{"reason": "{reason}"}}], "message": "so"}}}}'.encode()
    assert trouble_of(Reply(status, {}, body), 'x').trouble is trouble


def test_retry_after_in_both_forms_and_by_the_servers_own_clock():
    assert retry_after_s(Reply(503, {'retry-after': '17'})) == 17.0
    assert retry_after_s(Reply(503, {'retry-after': 'Mon, 23 Nov 2026 12:00:30 GMT',
                                     'date': 'Mon, 23 Nov 2026 12:00:00 GMT'})) == 30.0
    assert retry_after_s(Reply(503, {'retry-after': '1000000000'})) == 3600.0
    assert retry_after_s(Reply(503, {'retry-after': '-5'})) == 0.0
    assert retry_after_s(Reply(503, {'retry-after': 'soon'})) == 0.0
    assert retry_after_s(Reply(503, {'retry-after': 'nan'})) == 0.0


def test_bytes_that_changed_on_the_way_are_refused_and_never_become_an_object(tmp_path):
    """The file is altered while its session is open: the server's crc32c check keeps it out."""
    path = tmp_path / 'a.mcap'
    path.write_bytes(bytes(3 * QUANTUM))
    transport = InProcess(rules_of(), FakeClock())
    sending = a_store(transport, chunks=ChunkSize(first=QUANTUM)).sending(an_item('a.mcap', path))
    assert sending.step() is None
    path.write_bytes(b'\1' * 3 * QUANTUM)
    with pytest.raises(StoreError) as caught:
        to_the_end(sending)
    assert caught.value.trouble is Trouble.REFUSED
    assert not transport.rules.objects


def test_a_name_taken_while_it_was_sent_is_found_out_at_the_end(tmp_path):
    path = tmp_path / 'a.mcap'
    path.write_bytes(bytes(3 * QUANTUM))
    transport = InProcess(rules_of(), FakeClock())
    sending = a_store(transport, chunks=ChunkSize(first=QUANTUM)).sending(an_item('a.mcap', path))
    assert sending.step() is None
    transport.rules.objects['fleet/a.mcap'] = b'other'
    found = to_the_end(sending)
    assert found.crc32c == manifest.crc32c_of(b'other')
    assert transport.rules.objects['fleet/a.mcap'] == b'other'
