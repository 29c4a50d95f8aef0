"""The ring against a model that remembers everything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_case_recorder.ring import RECORD_OVERHEAD_BYTES, Ring

KEEP = 100
SIZES = st.integers(0, 400)
TOPICS = ('camera', 'joints')


def test_a_camera_cannot_push_joints_out():
    ring = Ring(keep_ns=1000)
    ring.add_topic('camera', 3000)
    ring.add_topic('joints', 3000)
    for now in range(10):
        ring.append('joints', now, b'j')
    for now in range(10, 100):
        ring.append('camera', now, bytes(1000))
    counts = ring.counts()
    assert counts['joints'].held == 10
    assert counts['joints'].evicted == 0
    assert counts['camera'].held == 2
    assert counts['camera'].evicted == 88


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(TOPICS), SIZES), max_size=120))
def test_bounds_hold_after_every_message(events):
    ring, now = Ring(KEEP), 0
    for topic in TOPICS:
        ring.add_topic(topic, 1000)
    for step, topic, size in events:
        now += step
        ring.append(topic, now, bytes(size))
        ring.expire(now)
        cursor, _ = ring.open_window(0)
        records = ring.take(cursor, now)
        assert all(record.now_ns >= now - KEEP for record in records)
        for name, count in ring.counts().items():
            held = sum(len(r.data) + RECORD_OVERHEAD_BYTES for r in records if r.topic == name)
            assert held <= count.held_bytes <= 1000
            assert count.held + count.expired + count.evicted <= count.received


@given(
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from(TOPICS), SIZES), min_size=1,
             max_size=80),
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from(TOPICS), SIZES), max_size=80),
    st.integers(0, KEEP), st.lists(st.booleans(), min_size=80, max_size=80))
@settings(max_examples=50)
def test_what_a_window_gets_and_what_it_lost_is_everything_in_it(before, after, back, reads):
    """However often it is read: in order, none twice, and nothing is missing without a count."""
    ring, now = Ring(KEEP), 1000
    sent = {topic: [] for topic in TOPICS}
    for topic in TOPICS:
        ring.add_topic(topic, 1000)
    for number, (step, topic, size) in enumerate(before):
        now += step
        data = number.to_bytes(4, 'big') + bytes(size)
        ring.append(topic, now, data)
        sent[topic].append((now, data))
    start = now - back
    cursor, _ = ring.open_window(start)
    got = []
    for number, (step, topic, size) in enumerate(after):
        now += step
        data = (1000 + number).to_bytes(4, 'big') + bytes(size)
        ring.append(topic, now, data)
        sent[topic].append((now, data))
        if reads[number]:
            got += ring.take(cursor, now)
    got += ring.take(cursor, now)
    assert [r.now_ns for r in got] == sorted(r.now_ns for r in got)
    for topic in TOPICS:
        wanted = [item for item in sent[topic] if item[0] >= start]
        mine = [(r.now_ns, r.data) for r in got if r.topic == topic]
        assert set(mine) <= set(wanted)
        assert len(mine) == len(set(mine))
        assert len(mine) + cursor.lost.get(topic, 0) == len(wanted)


def test_a_message_larger_than_its_budget_is_a_loss_and_pushes_nothing_out():
    ring = Ring(KEEP)
    ring.add_topic('camera', 1000)
    ring.append('camera', 1, b'small')
    cursor, _ = ring.open_window(0)
    ring.append('camera', 2, bytes(2000))
    ring.append('camera', 3, b'small too')
    assert [r.now_ns for r in ring.take(cursor, 3)] == [1, 3]
    assert cursor.lost == {'camera': 1}
    assert ring.counts()['camera'].oversize == 1


def test_latched_messages_survive_time_and_come_first():
    ring = Ring(KEEP)
    ring.add_topic('tf_static', 1000, latched_depth=64)
    ring.add_topic('task', 1000, latched_depth=1)
    ring.append('tf_static', 1, b'lidar frame')
    ring.append('tf_static', 2, b'camera frame')
    ring.append('tf_static', 3, b'lidar frame')   # said again by its publisher
    ring.append('task', 4, b'wait here')
    ring.append('task', 5, b'drive')
    ring.expire(1000)
    ring.append('task', 1010, b'drive slowly')
    _, front = ring.open_window(1005)
    assert [(r.topic, r.data) for r in front] == [
        ('tf_static', b'camera frame'), ('tf_static', b'lidar frame'), ('task', b'drive')]
    cursor, front = ring.open_window(1020)
    assert [r.data for r in front][-1] == b'drive slowly'
    assert ring.take(cursor, 2000) == []


def test_overlapping_windows_each_get_the_whole():
    ring = Ring(KEEP)
    ring.add_topic('joints', 100_000)
    for now in range(50):
        ring.append('joints', now, b'x')
    first, _ = ring.open_window(20)
    early = ring.take(first, 60)
    second, _ = ring.open_window(25)
    for now in range(50, 80):
        ring.append('joints', now, b'x')
    late = ring.take(first, 60)
    assert [r.now_ns for r in early + late] == list(range(20, 61))
    assert [r.now_ns for r in ring.take(second, 65)] == list(range(25, 66))


def test_a_topic_that_appears_while_a_window_is_open_is_in_it():
    ring = Ring(KEEP)
    cursor, _ = ring.open_window(0)
    ring.add_topic('scan', 1000)
    ring.append('scan', 5, b'x')
    assert [r.topic for r in ring.take(cursor, 10)] == ['scan']


@pytest.mark.parametrize('budget', [0, RECORD_OVERHEAD_BYTES])
def test_a_budget_that_holds_nothing_is_refused(budget):
    with pytest.raises(ValueError, match='holds no message'):
        Ring(KEEP).add_topic('scan', budget)
