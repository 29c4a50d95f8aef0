"""Triggers of a rule that merges: within an open window one case grows, later the next begins."""

import time
from dataclasses import replace

import pytest
from making import NOON_NS, S, a_trigger
from test_worker import Robot, scans, wanted

from edge_case_recorder import manifest, worker
from edge_case_recorder.worker import CaseRefused


def submit(robot, cause='near', merge=True, after_s=0.3, stamp_ns=NOON_NS, now_ns=None):
    """The case's id and the trigger's time; the rule is called as the cause."""
    trigger = replace(a_trigger(cause, now_ns or time.monotonic_ns(), 0.2, after_s), rule=cause,
                      merge=merge)
    return robot.worker.submit(trigger, stamp_ns, {}), trigger.now_ns


def test_a_trigger_within_the_window_makes_the_case_longer(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.4)
        first, first_ns = submit(robot)
        second, _ = submit(robot, stamp_ns=NOON_NS + S, now_ns=first_ns + S // 5)
        # Behind the end of the first window, within that of the second.
        third, third_ns = submit(robot, stamp_ns=NOON_NS + 2 * S, now_ns=first_ns + 2 * S // 5)
        assert first == second == third
        [content] = robot.wait_for(1)
    assert content['case_id'] == first
    assert content['trigger']['values']['merged'] == '2'
    window = content['window']
    assert window['end_ns'] == NOON_NS + third_ns - first_ns + 3 * S // 10
    assert window['complete']
    got = [data for _, data in scans(tmp_path / first)]
    assert got == [data for now_ns, data in robot.sent
                   if first_ns - S // 5 <= now_ns <= third_ns + 3 * S // 10]
    assert manifest.read(tmp_path / first) == content


def test_a_trigger_behind_the_window_begins_a_case(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.4)
        first, _ = submit(robot, after_s=0.1)
        robot.wait_for(1)
        second, second_ns = submit(robot, after_s=0.1, stamp_ns=NOON_NS + S)
        assert first != second
        robot.wait_for(2)
    assert [data for _, data in scans(tmp_path / second)] == wanted(robot, second_ns, 0.2, 0.1)


def test_rules_merge_with_themselves_only(tmp_path):
    with Robot(tmp_path) as robot:
        robot.run(0.4)
        ids = [submit(robot, 'near')[0], submit(robot, 'far')[0], submit(robot, 'near')[0],
               submit(robot, 'alone', merge=False)[0],
               submit(robot, 'alone', merge=False, stamp_ns=NOON_NS + S)[0]]
        robot.wait_for(4)
    assert ids[0] == ids[2]
    assert len(set(ids)) == 4


def test_a_case_that_grows_takes_no_second_place(tmp_path):
    with Robot(tmp_path, max_open=1) as robot:
        robot.run(0.3)
        first, _ = submit(robot)
        assert submit(robot)[0] == first
        with pytest.raises(CaseRefused):
            submit(robot, 'far')
        robot.wait_for(1)
        assert robot.worker.status.open == 0
        second, _ = submit(robot, stamp_ns=NOON_NS + S)
        assert second != first


def test_a_rule_that_never_rests_begins_anew_after_the_longest_case(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, '_LONGEST_MERGED_NS', S // 2)
    with Robot(tmp_path) as robot:
        robot.run(0.3)
        begin_ns = time.monotonic_ns()
        ids = [submit(robot, stamp_ns=NOON_NS + number * S, now_ns=begin_ns + number * S // 10)[0]
               for number in range(6)]
        robot.wait_for(2)
    assert ids[0] == ids[1] == ids[2]
    assert ids[3] == ids[4] == ids[5]
    assert ids[0] != ids[3]


def test_a_trigger_that_comes_as_its_case_ends_is_a_case(tmp_path):
    """The executor may be late: the writer has finished what was to grow."""
    with Robot(tmp_path) as robot:
        robot.run(0.3)
        submit(robot, after_s=0.05)
        robot.wait_for(1)
        robot.worker._growing['near'].end_ns += 10 * S
        submit(robot, after_s=0.05, stamp_ns=NOON_NS + S)
        robot.wait_for(2)
        assert robot.worker.status.open == 0
