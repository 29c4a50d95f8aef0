"""From the ring to finished cases, with the real disk and real time, without ROS."""

import threading
import time

import pytest
from making import NOON_NS, ODOM, SCAN, TASK, S, a_trigger, an_open_spool, string_cdr
from rosbags.rosbag2 import Reader

from edge_case_recorder import manifest
from edge_case_recorder.ring import Ring
from edge_case_recorder.spool import State, cases
from edge_case_recorder.triggers import LaterReasons
from edge_case_recorder.worker import CaseRefused, Identity, Worker

PERIOD_S = 0.01


class Robot:
    """Topics that tick at 100 Hz into a ring, and a worker that records them."""

    def __init__(self, root, budget=10_000_000, max_open=8, **spool):
        self.ring = Ring(3 * S)
        self.spool = an_open_spool(root, **spool)
        self.said = []
        self.finished = []
        self._case = threading.Condition()
        self.sent = []
        self.worker = Worker(
            self.ring, self.spool, {'/scan': SCAN, '/task': TASK, '/odom': ODOM},
            Identity('robot_7', 'amr'), compression='zstd', flush_s=0.1, max_open=max_open,
            on_case=self._on_case, log=lambda _, text: self.said.append(text))
        self.ring.add_topic('/scan', budget)
        self.ring.add_topic('/task', budget, latched_depth=1)
        self._ends = threading.Event()
        self._ticking = threading.Thread(target=self._tick)

    def __enter__(self):
        self.worker.start()
        self.ring.append('/task', time.monotonic_ns(), string_cdr('drive to the goal'))
        self._ticking.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._ticking.join()
        self.worker.stop()
        self.spool.close()

    def run(self, seconds):
        time.sleep(seconds)

    def trigger(self, cause='protective_field', before_s=0.5, after_s=0.3, stamp_ns=NOON_NS):
        trigger = a_trigger(cause, time.monotonic_ns(), before_s, after_s)
        return self.worker.submit(trigger, stamp_ns, {}), trigger.now_ns

    def wait_for(self, count, limit_s=5.0):
        with self._case:
            assert self._case.wait_for(lambda: len(self.finished) >= count, limit_s), self.said
        return self.finished[:count]

    def _on_case(self, content):
        with self._case:
            self.finished.append(content)
            self._case.notify_all()

    def _tick(self):
        number, due = 0, time.monotonic()
        while not self._ends.is_set():
            now_ns = time.monotonic_ns()
            data = string_cdr(str(number)) + bytes(1000)
            self.sent.append((now_ns, data))
            self.ring.append('/scan', now_ns, data)
            number += 1
            due += PERIOD_S
            time.sleep(max(0.0, due - time.monotonic()))


def scans(folder):
    with Reader(folder) as reader:
        return [(stamp, bytes(data)) for connection, stamp, data in reader.messages()
                if connection.topic == '/scan']


def wanted(robot, trigger_ns, before_s=0.5, after_s=0.3):
    return [data for now_ns, data in robot.sent
            if trigger_ns - before_s * S <= now_ns <= trigger_ns + after_s * S]


def test_overlapping_cases_each_get_their_whole_window(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.8)
        first, first_ns = robot.trigger('protective_field')
        robot.run(0.15)
        second, second_ns = robot.trigger('policy_fallback', stamp_ns=NOON_NS + S)
        finished = robot.wait_for(2)
        assert [content['case_id'] for content in finished] == [first, second]
    for case, trigger_ns, stamp_ns in ((first, first_ns, NOON_NS),
                                       (second, second_ns, NOON_NS + S)):
        got = scans(tmp_path / case)
        assert [data for _, data in got] == wanted(robot, trigger_ns)
        # A bag's times are UTC, spaced as the messages came.
        assert got[0][0] - (stamp_ns - 0.5 * S) < 0.05 * S
        content = manifest.read(tmp_path / case)
        assert content['window']['complete'], content['window']
        assert [topic['name'] for topic in content['topics'] if not topic['messages']] == ['/odom']


def test_a_bag_begins_with_what_was_latched(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.7)
        case, _ = robot.trigger()
        robot.wait_for(1)
    with Reader(tmp_path / case) as reader:
        connection, stamp, data = next(reader.messages())
    assert connection.topic == '/task'
    assert stamp == NOON_NS - 0.5 * S
    assert bytes(data) == string_cdr('drive to the goal')


def test_a_case_ends_soon_after_its_window(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.6)
        robot.trigger()
        began = time.monotonic()
        robot.wait_for(1)
        assert time.monotonic() - began < 0.3 + 1.0


def test_stopping_keeps_what_there_is_and_says_so(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.6)
        case, trigger_ns = robot.trigger(after_s=30.0)
        robot.run(0.2)
    [content] = robot.finished
    assert content['window']['truncated_by'] == 'shutdown'
    assert not content['window']['complete']
    got = [data for _, data in scans(tmp_path / case)]
    assert len(got) > 60
    assert got == wanted(robot, trigger_ns, after_s=30.0)[:len(got)]


def test_a_trigger_right_after_the_start_is_labelled(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.1)
        robot.trigger(before_s=2.0)
        [content] = robot.wait_for(1)
    assert content['window']['truncated_by'] == 'late_start'


def test_a_budget_that_is_too_small_is_seen_in_the_manifest(tmp_path):
    with Robot(tmp_path, budget=12_000) as robot:   # about ten of the fifty messages
        robot.run(0.8)
        case, trigger_ns = robot.trigger(after_s=0.0)
        [content] = robot.wait_for(1)
    lost = {topic['name']: topic['lost_in_ring'] for topic in content['topics']}
    assert lost['/scan'] + len(scans(tmp_path / case)) == len(wanted(robot, trigger_ns,
                                                                     after_s=0.0))
    assert lost['/scan'] > 30
    assert not content['window']['complete']


def test_later_reasons_join_their_case_and_no_other(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.6)
        robot.trigger('protective_field')
        robot.worker.add_reasons(LaterReasons('safety_reflex', ('estop', 'protective_field')))
        robot.worker.add_reasons(LaterReasons('policy_client', ('nothing_to_do_with_it',)))
        [content] = robot.wait_for(1)
    assert content['cause'] == 'protective_field'
    assert content['reasons'] == ['protective_field', 'estop']


def test_the_floor_of_the_disk_ends_a_case_and_keeps_it(tmp_path):
    free = [10_000_000]
    with Robot(tmp_path, free_bytes=lambda _: free[0], min_free_bytes=1_000_000) as robot:
        robot.run(0.6)
        case, _ = robot.trigger(after_s=5.0)
        robot.run(0.3)
        free[0] = 1_000_100
        [content] = robot.wait_for(1, limit_s=2.0)
        assert content['window']['truncated_by'] == 'disk_floor'
        assert len(scans(tmp_path / case)) > 40
        assert 'min_free_bytes' in robot.worker.status.last_error


def test_too_many_at_once_are_refused_and_counted(tmp_path):
    with Robot(tmp_path, max_open=2) as robot:
        robot.run(0.1)
        robot.trigger('a')
        robot.trigger('b')
        with pytest.raises(CaseRefused, match='2 cases'):
            robot.trigger('c')
        robot.wait_for(2)
        assert robot.worker.status.refused == 1
        robot.trigger('d')
        robot.wait_for(3)


def test_one_case_that_cannot_be_written_does_not_stop_the_next(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.3)
        robot.trigger('twice', before_s=0.1, after_s=0.0)
        robot.wait_for(1)
        robot.trigger('twice', before_s=0.1, after_s=0.0)   # the same stamp: the same id
        robot.trigger('other', before_s=0.1, after_s=0.0)
        finished = robot.wait_for(2)
    assert [content['cause'] for content in finished] == ['twice', 'other']
    assert any('already' in text for text in robot.said)


def test_an_event_that_nobody_can_hear_costs_no_case(tmp_path):
    with Robot(tmp_path) as robot:
        robot.worker._on_case = lambda _: 1 / 0
        robot.run(0.1)
        robot.trigger(before_s=0.1, after_s=0.0)
        robot.run(0.3)
        robot.worker._on_case = robot._on_case
        robot.trigger(before_s=0.1, after_s=0.0, stamp_ns=NOON_NS + S)
        robot.wait_for(1)
    assert [case.state for case in cases(tmp_path)] == [State.RECORDED] * 2
