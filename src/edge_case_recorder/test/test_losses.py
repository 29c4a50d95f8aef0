"""Losses told from stamps: against streams whose losses are known, and streams without any."""

import random
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from making import ODOM, SCAN, TASK, S, topic

from edge_case_recorder.bag import TopicInfo
from edge_case_recorder.losses import (
    LONGEST_RUN,
    Losses,
    LossMeter,
    begins_with_header,
    estimate,
    header_stamp,
    missing_counts,
)
from edge_case_recorder.ring import Record

HEARTBEAT = topic('/safety/heartbeat', 'std_msgs/msg/UInt64')
SEEDS = st.integers(0, 2**32)
RATES_HZ = st.sampled_from([5.0, 10.0, 30.0, 40.0, 100.0, 500.0])
# The last messages of a window are not judged: too few follow.
TAIL = 2 * LONGEST_RUN + 2


def a_stream(rate_hz, count, jitter, chance):
    """Arrivals of a steady publisher, each late by up to jitter periods."""
    period = S / rate_hz
    return [int(1000 * S + (number + jitter * chance.random()) * period)
            for number in range(count)]


@given(SEEDS, RATES_HZ, st.floats(0, 0.2), st.floats(0, 0.12), st.integers(150, 600))
def test_known_losses_are_told_within_a_tenth_or_one(seed, rate_hz, jitter, share, count):
    chance = random.Random(seed)
    stamps = a_stream(rate_hz, count, jitter, chance)
    kept, run = [], 0
    for number, stamp in enumerate(stamps):
        if 0 < number < count - TAIL and run < LONGEST_RUN and chance.random() < share:
            run += 1
        else:
            kept.append(stamp)
            run = 0
    lost = count - len(kept)
    told = estimate(kept)
    if told is None:   # equal gaps at equal distances: very few lost, by chance alike
        assert lost < 15
    else:
        assert abs(told - lost) <= max(1, 0.1 * lost)


@given(SEEDS, RATES_HZ, st.integers(1, LONGEST_RUN), st.integers(20, 100))
def test_a_run_of_losses_is_told_exactly(seed, rate_hz, run, where):
    stamps = a_stream(rate_hz, 150, 0.15, random.Random(seed))
    assert estimate(stamps[:where] + stamps[where + run:]) == run


@given(SEEDS, RATES_HZ, st.floats(0, 0.4), st.integers(0, 600))
@example(0, 100.0, 0.0, 600)
def test_a_steady_stream_without_losses_has_none(seed, rate_hz, jitter, count):
    assert not estimate(a_stream(rate_hz, count, jitter, random.Random(seed)))


@given(SEEDS, RATES_HZ, st.integers(30, 120), st.floats(1.5, 5))
def test_what_is_only_late_is_not_lost(seed, rate_hz, where, delay):
    """Everything of some periods arrives at once: the executor was busy."""
    stamps = a_stream(rate_hz, 150, 0.1, random.Random(seed))
    until = stamps[where] + int(delay * S / rate_hz)
    stamps = sorted(max(stamp, until) if number > where else stamp
                    for number, stamp in enumerate(stamps))
    assert estimate(stamps) == 0


@given(SEEDS, RATES_HZ, st.integers(30, 120), st.floats(LONGEST_RUN + 2.5, 1000))
def test_a_pause_is_not_a_loss(seed, rate_hz, where, pause):
    stamps = a_stream(rate_hz, 150, 0.1, random.Random(seed))
    stamps = [stamp + int(pause * S / rate_hz) * (number >= where)
              for number, stamp in enumerate(stamps)]
    assert estimate(stamps) == 0


@given(SEEDS, st.integers(3, 15), st.integers(2, 12))
def test_bursts_at_equal_distances_are_not_losses(seed, burst, pause):
    period = S // 100
    chance = random.Random(seed)
    stamps = [int(period * (number + pause * (number // burst) + 0.05 * chance.random()))
              for number in range(200)]
    assert not estimate(stamps)


@pytest.mark.parametrize('longest', [5, 15, 50])
def test_bursts_with_rests_of_any_length_are_hardly_ever_losses(longest):
    """Rests that happen to last whole periods look like losses: in one stream of a hundred."""
    chance, told = random.Random(1), 0
    for _ in range(300):
        now, stamps = 0, []
        while len(stamps) < 300:
            for _ in range(chance.randint(3, 20)):
                now += int(S / 100 * chance.uniform(0.95, 1.05))
                stamps.append(now)
            now += int(S / 100 * chance.uniform(1, longest))
        told += bool(estimate(stamps))
    assert told <= 3


@given(SEEDS, st.integers(21, 400))
def test_messages_at_random_times_have_no_rate(seed, count):
    chance = random.Random(seed)
    assert not estimate(sorted(chance.randrange(60 * S) for _ in range(count)))


@given(SEEDS, st.floats(2, 6), st.integers(60, 140))
def test_a_rate_that_changes_is_not_a_loss(seed, factor, where):
    chance = random.Random(seed)
    fast = a_stream(40.0, where, 0.1, chance)
    slow = [fast[-1] + int((number + 0.1 * chance.random()) * factor * S / 40)
            for number in range(1, 200 - where)]
    assert not estimate(fast + slow)


def test_what_is_too_short_equal_or_backward_has_no_rate():
    assert estimate([]) is None
    assert estimate(list(range(0, 20 * S, S))) is None
    assert estimate([5] * 100) is None
    assert estimate([*range(0, 100 * S, S), 3]) is None


@given(st.integers(0, 2**40), st.sets(st.integers(1, 98)))
def test_a_count_tells_exactly(first, lost):
    assert missing_counts([first + number for number in range(100) if number not in lost]) == len(
        lost)


def test_a_count_that_begins_anew_or_repeats_lost_nothing():
    assert missing_counts([7, 8, 8, 0, 1, 2]) == 0
    assert missing_counts([7, 9, 0, 1, 2**40]) == 1
    assert missing_counts([]) == 0


def with_header(stamp_ns, frame=b'lidar\0'):
    return (b'\x00\x01\x00\x00' + struct.pack('<iII', *divmod(stamp_ns, S), len(frame)) + frame)


def test_a_header_is_read_without_decoding():
    assert header_stamp(with_header(1234 * S + 5)) == 1234 * S + 5
    assert header_stamp(b'\x00\x00\x00\x00' + struct.pack('>iI', 12, 5)) == 12 * S + 5
    assert header_stamp(b'\x00\x01') == 0
    assert header_stamp(b'\x00\x01\x00\x00' + b'\xff' * 8) == 0


def test_only_types_that_begin_with_a_header_have_one():
    assert begins_with_header(SCAN.definition)
    assert begins_with_header(ODOM.definition)
    assert not begins_with_header(TASK.definition)
    assert not begins_with_header(topic('/tf', 'tf2_msgs/msg/TFMessage').definition)
    assert not begins_with_header('')
    assert begins_with_header('uint8 A=1  # of no room in it\n\nstd_msgs/Header header\n')


@pytest.mark.parametrize('info', [SCAN, TopicInfo('/rocket', 'acme_msgs/msg/Rocket')])
def test_stamps_of_the_header_come_before_those_of_arrival(info):
    """Delivered in lumps, one message missing: only the header shows it."""
    meter = LossMeter()
    for number in range(100):
        if number != 50:
            arrival = (number // 7 + 1) * 7 * S // 10
            meter.see(info, Record(info.name, arrival, with_header(1000 * S + number * S // 10)))
    assert meter.losses(info.name) == Losses(1 if info is SCAN else None)
    assert meter.losses('/silent') == Losses()


def test_an_empty_header_is_not_believed():
    meter = LossMeter()
    for number in range(100):
        if number != 50:
            meter.see(SCAN, Record('/scan', number * S // 10, with_header(0)))
    assert meter.losses('/scan') == Losses(1)


def test_a_heartbeat_counts():
    meter = LossMeter()
    for number in range(100):
        if number not in (3, 4, 99):
            meter.see(HEARTBEAT, Record(HEARTBEAT.name, number * S // 50,
                                        b'\x00\x01\x00\x00' + struct.pack('<Q', 2**33 + number)))
    assert meter.losses(HEARTBEAT.name) == Losses(2, 2)
    other = topic('/odometer', 'std_msgs/msg/UInt64')
    meter.see(other, Record(other.name, 1, b'\x00\x01\x00\x00' + bytes(8)))
    assert meter.losses(other.name) == Losses(None, None)


def test_what_a_limit_left_out_was_not_lost():
    meter = LossMeter()
    stamps = [number * S // 10 for number in range(100) if number != 50]
    for stamp in stamps[::2]:
        meter.see(SCAN, Record('/scan', stamp, with_header(stamp + S)))
    assert meter.losses('/scan', stamps[1::2]) == Losses(1)
