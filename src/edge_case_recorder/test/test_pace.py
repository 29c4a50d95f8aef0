"""Caps, chunks, backoff, the schedule and the time of day; all on clocks that are told."""

import datetime
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import NOON_S, FakeClock

from edge_case_recorder.strict_bucket.campaign import most_in_any
from edge_case_recorder.uploading.backoff import Backoff, Patience
from edge_case_recorder.uploading.pace import Body, ChunkSize, TokenBucket
from edge_case_recorder.uploading.protocol import QUANTUM
from edge_case_recorder.uploading.replies import http_date
from edge_case_recorder.uploading.schedule import ScheduleError, parse_schedule, read_schedule
from edge_case_recorder.uploading.wall_clock import WallClock

H = 3600.0
NIGHTS = {'time_zone': 'utc', 'always_from_priority': 80, 'longest_wait_h': 48,
          'windows': [{'days': ['mon', 'fri'], 'from': '20:00', 'to': '06:00'},
                      {'days': ['sat'], 'from': '00:00', 'to': '24:00', 'from_priority': 30}]}


@settings(max_examples=100, deadline=None)
@given(limit=st.floats(2e3, 1e8), pauses=st.lists(st.floats(0.0, 3.0), max_size=30),
       seed=st.integers(0, 99))
def test_a_cap_holds_over_any_ten_seconds_whatever_the_pauses_and_oversleeping(limit, pauses, seed):
    clock, chance = FakeClock(), random.Random(seed)
    cap = TokenBucket(limit, clock.steady)
    passed = []
    while clock.steady < 1000.0 + 30.0:
        if pauses and chance.random() < 0.05:
            clock.sleep(pauses.pop())
        count = min(cap.slice_bytes, 16 << 10)
        clock.sleep(cap.take(count, clock.steady) * chance.uniform(1.0, 1.2))
        clock.sleep(1e-6)
        passed.append((clock.steady, count))
        if len(passed) > 20_000:
            break
    assert most_in_any(passed, 10.0) <= limit * 10.0 * 1.05 + cap.slice_bytes


def test_a_cap_is_used_up_in_spite_of_short_pauses(tmp_path):
    """Between chunks there is a reply to wait for: that is made up for."""
    (tmp_path / 'file').write_bytes(bytes(1 << 20))
    clock = FakeClock()
    cap = TokenBucket(200e3, clock.steady)
    sent = 0
    while clock.steady < 1000.0 + 60.0:
        body = Body(tmp_path / 'file', 0, 800_000, cap=cap, steady_s=clock.steady_s,
                    sleep=clock.sleep)
        sent += len(body)
        while body.read(16 << 10):
            pass
        body.close()
        clock.sleep(0.15)
    assert sent / (clock.steady - 1000.0) == pytest.approx(200e3, rel=0.05)


def test_a_cap_must_be_a_rate():
    for limit in (0.0, -1.0, float('nan')):
        with pytest.raises(ValueError, match='above 0'):
            TokenBucket(limit, 0.0)


def test_a_body_is_the_piece_between_its_ends_and_says_so_when_the_file_shrinks(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(bytes(range(200)))
    body = Body(path, 50, 150, before=b'<', after=b'>')
    assert len(body) == 102
    data = b''
    while block := body.read(7):
        data += block
    assert data == b'<' + bytes(range(50, 150)) + b'>'
    body.close()
    body = Body(path, 0, 200)
    path.write_bytes(b'short')
    assert body.read() == b'short'
    with pytest.raises(OSError, match='shorter'):
        body.read()
    body.close()


@pytest.mark.parametrize('rate', [125e3, 1e6, 20e6, 1e9])
def test_chunks_take_about_four_seconds_on_any_link(rate):
    chunks = ChunkSize()
    for _ in range(20):
        chunks.arrived(chunks.bytes, 0.1 + chunks.bytes / rate)
    assert chunks.bytes % QUANTUM == 0
    if 4 * rate < 8 << 20:
        assert 2.0 <= chunks.bytes / rate <= 4.0
    else:
        assert chunks.bytes == 8 << 20


@settings(max_examples=200)
@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 1 << 24), st.floats(0.0, 1e4)))))
def test_chunks_are_multiples_within_bounds_and_at_most_double(fates):
    chunks = ChunkSize(first=QUANTUM)
    for fate in fates:
        before = chunks.bytes
        if fate is None:
            chunks.failed()
            assert chunks.bytes <= max(before / 2, QUANTUM)
        else:
            chunks.arrived(*fate)
            assert chunks.bytes <= 2 * before
        assert chunks.bytes % QUANTUM == 0
        assert QUANTUM <= chunks.bytes <= 8 << 20


def test_two_thousand_robots_that_lost_the_network_together_do_not_come_back_in_step():
    """An hour without network, then each robot's first successful request, by second."""
    chance = random.Random(7)
    back = []
    for _ in range(2000):
        backoff, at_s = Backoff(Patience(), chance.uniform), 0.0
        while at_s < H:
            at_s += backoff.failed()
        back.append(int(at_s - H))
    assert max(back) <= 300
    busiest = max(back.count(second) for second in set(back))
    assert busiest <= 40     # of 2,000; 1,600 with a fixed doubling, 300 s apart


def test_what_the_server_asks_for_is_waited_out_and_spread_as_far_again():
    waits = [Backoff(Patience(), random.Random(seed).uniform).failed(60.0) for seed in range(200)]
    assert min(waits) >= 60.0
    assert max(waits) > 110.0
    assert len({int(wait) for wait in waits}) > 40


def test_a_success_ends_the_growth():
    backoff = Backoff(Patience(first_s=1.0, longest_s=300.0), lambda low, high: high)
    assert [backoff.failed() for _ in range(3)] == [2.0, 4.0, 8.0]
    backoff.worked()
    assert backoff.failed() == 2.0
    assert [backoff.failed() for _ in range(2000)][-1] == 300.0


def utc(day, hour, minute=0):
    return datetime.datetime(2026, 11, day, hour, minute, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(('day', 'hour', 'priority', 'may'), [
    (23, 12, 0, False), (23, 12, 79, False), (23, 12, 80, True), (23, 20, 0, True),
    (24, 5, 0, True), (24, 6, 0, False), (24, 21, 0, False), (27, 23, 0, True), (28, 5, 0, True),
    (28, 12, 29, False), (28, 12, 30, True), (29, 0, 30, False), (23, 0, 0, False)])
def test_windows_belong_to_the_day_they_begin_on(day, hour, priority, may):
    """2026-11-23 is a Monday."""
    assert parse_schedule(NIGHTS).may_go(priority, 0.0, utc(day, hour)) is may


def test_nothing_waits_longer_than_the_longest_wait():
    schedule = parse_schedule(NIGHTS)
    assert not schedule.may_go(0, 47.9 * H, NOON_S)
    assert schedule.may_go(0, 48 * H, NOON_S)


def test_a_zone_has_its_own_day():
    schedule = parse_schedule({'time_zone': 'Asia/Tokyo',
                               'windows': [{'days': ['tue'], 'from': '00:00', 'to': '01:00'}]})
    assert schedule.may_go(0, 0.0, utc(23, 15, 30))     # 00:30 on Tuesday in Tokyo
    assert not schedule.may_go(0, 0.0, utc(24, 0, 30))


@pytest.mark.parametrize(('change', 'told'), [
    ({'windows': []}, 'windows: must be a list'), ({'window': []}, "'window' is none of"),
    ({'windows': [{'from': '20:00', 'to': 1200}]}, r'windows\[0\].to: 1200 must be a time in quo'),
    ({'windows': [{'from': '25:00', 'to': '06:00'}]}, r'windows\[0\].from'),
    ({'windows': [{'from': '1:00', 'to': '2:00', 'days': ['monday']}]}, r'windows\[0\].days'),
    ({'windows': [{'from': '01:00', 'to': '02:00', 'from_priority': 101}]}, 'from_priority: 101'),
    ({'always_from_priority': True}, 'always_from_priority'), ({'longest_wait_h': 0}, 'above 0'),
    ({'time_zone': 'Mars/Olympus'}, 'time_zone')])
def test_a_wrong_schedule_is_one_sentence(change, told, tmp_path):
    with pytest.raises(ScheduleError, match=told):
        parse_schedule({**NIGHTS, **change})
    (tmp_path / 'schedule.yaml').write_text(str({**NIGHTS, **change}))
    with pytest.raises(ScheduleError, match=r'schedule\.yaml'):
        read_schedule(tmp_path / 'schedule.yaml')


def test_the_time_of_day_is_the_buckets_and_survives_a_clock_that_is_set():
    clock = FakeClock()
    wall = WallClock(clock.steady_s, clock.machine_s)
    assert wall.utc_s() == NOON_S
    assert wall.machine_is_off_by_s() == 0.0
    wall.heard('Mon, 23 Nov 2026 12:00:00 GMT')
    clock.machine_ahead_s = -50 * 365 * 24 * H      # the battery was empty
    clock.sleep(3 * H)
    assert wall.utc_s() == pytest.approx(NOON_S + 3 * H)
    assert wall.machine_is_off_by_s() == pytest.approx(clock.machine_ahead_s)
    wall.heard('no date')
    assert wall.utc_s() == pytest.approx(NOON_S + 3 * H)
    assert http_date('') is None
