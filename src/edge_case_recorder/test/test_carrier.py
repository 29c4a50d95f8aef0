"""What goes next, and what becomes of each trouble; in process, on a clock that only waits move."""

import json
import logging
import shutil
import stat

import pytest
from in_process import FakeClock, InProcess, a_store, an_uploader, rules_of
from making import NOON_NS, S, a_case, an_open_spool
from test_pace import NIGHTS, H

from edge_case_recorder import manifest
from edge_case_recorder.spool import State, cases
from edge_case_recorder.strict_bucket.campaign import most_in_any
from edge_case_recorder.strict_bucket.faults import Fault, Faults, Kind
from edge_case_recorder.strict_bucket.ledger import sent_again
from edge_case_recorder.upload_status import read_status
from edge_case_recorder.uploading.backoff import Patience
from edge_case_recorder.uploading.carrier import Did
from edge_case_recorder.uploading.pace import ChunkSize, TokenBucket
from edge_case_recorder.uploading.protocol import QUANTUM
from edge_case_recorder.uploading.schedule import parse_schedule
from edge_case_recorder.uploading.session import load, session_path
from edge_case_recorder.uploading.status import StatusFile
from edge_case_recorder.uploading.trouble import Trouble

MBIT = 125_000.0


@pytest.fixture
def spool(tmp_path):
    return an_open_spool(tmp_path / 'spool')


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def link(clock):
    return InProcess(rules_of(), clock, rate=10 * MBIT, latency_s=0.05)


def small():
    return ChunkSize(first=QUANTUM, largest=QUANTUM)


def states(spool):
    return [case.state for case in cases(spool.root)]


def committed(rules):
    """The ids of the cases in the bucket, in the order of their manifests."""
    return [name.split('/')[-2] for name in rules.objects if name.endswith('/manifest.json')]


def all_equal(rules, folder):
    """Every object of a case is the file, and came to be once."""
    content = manifest.read(folder)
    names = [entry['path'] for entry in content['files']] + [manifest.MANIFEST]
    return all(rules.objects[f'fleet/{manifest.object_folder(content)}/{name}']
               == (folder / name).read_bytes() for name in names) and \
        set(rules.created.values()) == {1}


def big_case(spool, number=0, priority=50, size=1_000_000):
    return a_case(spool, stamp_ns=NOON_NS + number * S, messages=20, size=size // 20,
                  priority=priority)


def test_a_more_important_case_overtakes_within_one_chunk_and_the_other_goes_on(spool, clock, link):
    slow = big_case(spool, 0, priority=50)
    uploader = an_uploader(spool.root, a_store(link, chunks=small()), clock)
    for _ in range(2):
        assert uploader.carrier.step().case_id == slow.name
    urgent = big_case(spool, 1, priority=90)
    before = len(link.rules.arrivals)
    assert uploader.carrier.step().case_id == urgent.name
    uploader.upload_all()
    assert committed(link.rules) == [urgent.name, slow.name]
    # From the moment it was spooled, not one byte of another case until it was whole.
    names = [each.name for each in link.rules.arrivals[before:]]
    ends = max(index for index, name in enumerate(names) if urgent.name in name)
    assert all(urgent.name in name for name in names[:ends + 1])
    assert all_equal(link.rules, slow)
    assert all_equal(link.rules, urgent)
    assert sent_again(link.rules.arrivals) == []


def test_a_week_offline_then_one_megabit_with_failures_every_important_case_first(spool, clock,
                                                                                  capsys):
    """30 % of all requests fail; the process dies twice; an urgent case comes in the middle."""
    faults = Faults(share=0.3, seed=11)
    link = InProcess(rules_of(), clock, faults=faults, rate=MBIT, latency_s=0.1)
    link.offline = True
    folders = {number: big_case(spool, number, priority=(90, 50, 70)[number % 3],
                                size=(2_000_000, 200_000, 900_000)[number % 4 % 3])
               for number in range(18)}
    patience = Patience(attempts=10**9)
    uploader = an_uploader(spool.root, a_store(link), clock, patience=patience)
    began_s = clock.steady
    while clock.steady < began_s + 7 * 24 * H:
        step = uploader.carrier.step()
        assert step.did is Did.WAITING
        clock.sleep(step.wait_s)
    asked = link.requests
    assert set(states(spool)) == {State.RECORDED}
    link.offline = False
    back_s = clock.steady
    late = None
    for number in range(10_000):
        if number in (40, 90):      # kill -9: only what is on the disk and in the bucket remains
            uploader = an_uploader(spool.root, a_store(link), clock, patience=patience)
        if number == 60:
            late = big_case(spool, 30, priority=100)
            done_before = len(committed(link.rules))
        step = uploader.carrier.step()
        if step.did is Did.NOTHING:
            break
        clock.sleep(step.wait_s)
    took_s = clock.steady - back_s
    assert set(states(spool)) == {State.UPLOADED}
    assert all(all_equal(link.rules, folder) for folder in (*folders.values(), late))
    order = committed(link.rules)
    assert order.index(late.name) <= done_before + 1
    order.remove(late.name)
    expected = sorted(folders.values(), key=lambda folder: (
        -manifest.read(folder)['trigger']['priority'], folder.name))
    assert order == [folder.name for folder in expected]
    total = sum(len(data) for data in link.rules.objects.values())
    sent = sum(each.received for each in link.rules.arrivals)
    for again in sent_again(link.rules.arrivals):
        assert again.bytes <= again.chunk
    with capsys.disabled():
        print(f'\n{asked} requests in a week offline; then {total} bytes in {took_s:.0f} s '
              f'({total / MBIT:.0f} s at least), {sent / total:.2f} of them sent')
    assert asked < 7 * 24 * H / 100
    assert took_s < 3 * total / MBIT


def test_a_cap_holds_over_ten_seconds_through_chunks_replies_and_cases(spool, clock):
    for number in range(4):
        big_case(spool, number, size=2_000_000)
    link = InProcess(rules_of(), clock, latency_s=0.1)     # an endless link
    cap = TokenBucket(100e3, clock.steady)
    an_uploader(spool.root, a_store(link, cap=cap), clock).upload_all()
    assert set(states(spool)) == {State.UPLOADED}
    assert most_in_any(link.passed, 10.0) <= 1.05 * 1_000_000
    total = sum(count for _, count in link.passed)
    assert total / (clock.steady - 1000.0) == pytest.approx(100e3, rel=0.05)


def test_a_schedule_holds_back_what_may_wait_and_a_clock_that_is_set_changes_nothing(spool, clock,
                                                                                     link):
    """Monday noon; low priorities go from 20:00. The robot's clock jumps to the night at 13:00."""
    low, high = big_case(spool, 0, priority=10), big_case(spool, 1, priority=80)
    uploader = an_uploader(spool.root, a_store(link), clock, schedule=parse_schedule(NIGHTS))
    uploader.upload_all()
    assert committed(link.rules) == [high.name]
    sent_at = {}
    for minute in range(10 * 60):
        if minute == 60:
            clock.machine_ahead_s = 10 * H
        if minute == 120:
            clock.machine_ahead_s = -56 * 365 * 24 * H
        uploader.upload_all()
        sent_at.setdefault(len(committed(link.rules)), clock.utc_s())
        clock.sleep(60.0)
    assert committed(link.rules) == [high.name, low.name]
    assert sent_at[2] == pytest.approx(clock.utc_s() - 10 * H + 8 * H, abs=120.0)


def test_a_robot_that_starts_with_an_empty_clock_battery_asks_for_the_time_first(spool, clock,
                                                                                 link):
    big_case(spool, 0, priority=10)
    clock.machine_ahead_s = -56 * 365 * 24 * H + 10 * H     # by itself it would think it is night
    uploader = an_uploader(spool.root, a_store(link), clock, schedule=parse_schedule(NIGHTS))
    assert uploader.carrier.step().did is Did.CLOSED
    assert not link.rules.arrivals


def settle(uploader, clock, steps=12):
    """So many steps with their waits; the troubles that came up."""
    found = []
    for _ in range(steps):
        step = uploader.carrier.step()
        clock.sleep(step.wait_s)
        if step.error:
            found.append(step.error.trouble)
    return found


def revoke(link, clock):
    link.faults.revoked = True


def restore(link, clock):
    link.faults.revoked = link.faults.full = False
    link.rules.exists = True
    clock.machine_ahead_s = 0.0


def wrong_clock(link, clock):
    link.faults.revoked = True
    clock.machine_ahead_s = 3 * H


def fill_up(link, clock):
    link.faults.full = True


def remove_bucket(link, clock):
    link.rules.exists = False


@pytest.mark.parametrize(('happen', 'trouble'), [
    (revoke, Trouble.CREDENTIALS), (wrong_clock, Trouble.CLOCK), (fill_up, Trouble.FULL),
    (remove_bucket, Trouble.NO_BUCKET)])
def test_what_holds_everything_up_has_its_name_loses_nothing_and_passes(spool, clock, link, happen,
                                                                        trouble):
    folders = [big_case(spool, number) for number in range(3)]
    uploader = an_uploader(spool.root, a_store(link, chunks=small()), clock)
    settle(uploader, clock, 2)
    happen(link, clock)
    if happen is remove_bucket:
        link.rules.sessions.clear()
    troubles = settle(uploader, clock, 20)
    assert trouble in troubles
    assert set(troubles) <= {trouble, Trouble.EXPIRED}
    assert set(states(spool)) == {State.RECORDED}
    restore(link, clock)
    uploader.upload_all()
    assert all(all_equal(link.rules, folder) for folder in folders)


@pytest.fixture
def said():
    """What the uploader logs."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger('uploader').addHandler(handler)
    yield lines
    logging.getLogger('uploader').removeHandler(handler)


def test_an_expired_session_begins_anew_and_says_so(spool, clock, link, said):
    folder = big_case(spool)
    uploader = an_uploader(spool.root, a_store(link, chunks=small()), clock)
    settle(uploader, clock, 2)
    link.rules.expire_sessions()
    assert settle(uploader, clock, 1) == [Trouble.EXPIRED]
    uploader.upload_all()
    assert all_equal(link.rules, folder)
    assert 'begins anew' in '\n'.join(said)
    assert not any('session-' in line or 'upload_id' in line for line in said)


def test_an_object_that_the_server_refuses_waits_and_the_others_go(spool, clock, link):
    refused, other = big_case(spool, 0, priority=90), big_case(spool, 1, priority=10)
    link.faults.order(Fault(Kind.STATUS, on=refused.name, times=3, status=413, reason='tooLarge'))
    uploader = an_uploader(spool.root, a_store(link, chunks=small()), clock)
    sent, [trouble] = uploader.upload_all()
    assert (sent, trouble.trouble) == (1, Trouble.REFUSED)
    assert committed(link.rules) == [other.name]
    assert states(spool) == [State.RECORDED, State.UPLOADED]
    for _ in range(100):
        uploader.upload_all()
        clock.sleep(10.0)
    assert committed(link.rules) == [other.name, refused.name]


def test_a_case_that_leaves_the_spool_under_way_is_let_go(spool, clock, link):
    gone, other = big_case(spool, 0, priority=90), big_case(spool, 1, priority=10)
    uploader = an_uploader(spool.root, a_store(link, chunks=small()), clock)
    settle(uploader, clock, 2)
    shutil.rmtree(gone)
    assert settle(uploader, clock, 12) == []
    assert committed(link.rules) == [other.name]


@pytest.mark.parametrize('change', [
    lambda path: path.write_bytes(path.read_bytes()[:600_000]),
    lambda path: path.write_bytes(path.read_bytes()[:-1] + b'?'),
    lambda path: path.unlink()], ids=['shorter', 'other', 'gone'])
def test_a_file_that_rots_while_it_is_sent_is_marked_and_the_others_go(spool, clock, link, change):
    rotten, other = big_case(spool, 0, priority=90), big_case(spool, 1, priority=10)
    uploader = an_uploader(spool.root, a_store(link, chunks=small()), clock)
    settle(uploader, clock, 2)
    change(next(rotten.glob('*.mcap')))
    for _ in range(30):
        uploader.upload_all()
        clock.sleep(10.0)
    assert states(spool) == [State.FAILED, State.UPLOADED]
    assert json.loads((rotten / 'failed.json').read_text())['trouble'] == 'damaged'
    assert all_equal(link.rules, other)
    assert not any(rotten.name in name for name in link.rules.objects)


def test_the_session_is_its_owners_only_and_is_trusted_for_exactly_its_object(spool, clock, link):
    folder = big_case(spool)
    store = a_store(link, chunks=small())
    uploader = an_uploader(spool.root, store, clock)
    settle(uploader, clock, 2)
    item = uploader.carrier.running.sending.item
    path = session_path(item)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = load(path, store.url, item)
    assert kept.session_url not in repr(kept)
    assert load(path, 'gs://another', item) is None
    content = json.loads(path.read_bytes())
    for change in ({'bytes': 1}, {'crc32c': 'x'}, {'object': 'y'}, {'schema_version': 2},
                   {'session_url': 7}, {'more': 1}):
        path.write_text(json.dumps({**content, **change}))
        assert load(path, store.url, item) is None
    for damaged in (b'', b'{', b'[]', b'\xff', b'null', b'[' * 99_999):
        path.write_bytes(damaged)
        assert load(path, store.url, item) is None
    an_uploader(spool.root, a_store(link, chunks=small()), clock).upload_all()
    assert all_equal(link.rules, folder)
    assert not path.exists()


def test_a_mark_that_a_person_takes_away_lets_the_case_go_again(spool, clock, link):
    folder = big_case(spool)
    content = (folder / 'metadata.yaml').read_bytes()
    (folder / 'metadata.yaml').write_bytes(b'?')
    uploader = an_uploader(spool.root, a_store(link), clock)
    uploader.upload_all()
    assert states(spool) == [State.FAILED]
    (folder / 'metadata.yaml').write_bytes(content)
    (folder / 'failed.json').unlink()
    clock.sleep(5.0)
    uploader.upload_all()
    assert states(spool) == [State.UPLOADED]
    assert all_equal(link.rules, folder)


def test_the_status_file_tells_other_processes(spool, clock, link):
    folder = big_case(spool)
    uploader = an_uploader(spool.root, a_store(link, chunks=small()), clock)
    status = StatusFile(uploader.carrier)
    assert read_status(spool.root) == {}
    for _ in range(2):
        status.wrote(uploader.carrier.step())
    told = read_status(spool.root)
    assert (told['case_id'], told['did'], told['persisted_bytes']) == (
        folder.name, 'carried', 2 * QUANTUM)
    link.offline = True
    status.wrote(uploader.carrier.step())
    assert read_status(spool.root)['trouble'] == 'unreachable'
    link.offline = False
    while (step := uploader.carrier.step()).did is not Did.NOTHING:
        status.wrote(step)
    status.wrote(step)
    told = read_status(spool.root)
    assert (told['did'], told['sent'], told['waiting'], told['trouble']) == ('nothing', 1, 0, '')
