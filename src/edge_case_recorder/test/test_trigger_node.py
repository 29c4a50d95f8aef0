"""The node with rules of one's own: what it decodes, what fires, what it says of a wrong rule."""

import threading

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String
from test_node import (
    AFTER_S,
    BEFORE_S,
    SCAN_HZ,
    Robot,
    active_recorder,
    check_window,
    scans,
    spin,
)

from edge_case_recorder.health import WARN

RULES = """
schema_version: 1
types: {scan: sensor_msgs/msg/LaserScan}
triggers:
  docking:
    when: changed(task.data) and contains(task.data, 'dock') and length(scan.ranges) == 720
    priority: 77
    campaign: {name: docks-26, expires: 2999-01-01T00:00:00Z}
  silent: {when: age(policy/status) > 1 s}
  led_anew: {when: changed(policy/status.policy_client.source), merge: true, min_interval_s: 0}
  over: {when: seen(scan), campaign: {name: old, expires: 2020-01-01T00:00:00Z}}
  wrong: {when: task.dat == 'dock'}
"""


@pytest.fixture(scope='module')
def robot():
    """In a domain of its own: what test_node's robot latched is still in the air there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', '200')
        context = Context()
        rclpy.init(context=context)
        node, executor = Robot(context), SingleThreadedExecutor(context=context)
        executor.add_node(node)
        spinning = threading.Thread(target=spin, args=[executor])
        spinning.start()
        yield node
        rclpy.shutdown(context=context)
        spinning.join(5)
        executor.shutdown()


@pytest.fixture(scope='module')
def spool(robot, tmp_path_factory):
    root = tmp_path_factory.mktemp('rules')
    (root / 'triggers.yaml').write_text(RULES)
    with active_recorder(robot, root / 'spool', '-p', f'triggers_file:={root}/triggers.yaml'):
        yield root / 'spool'


def test_a_rule_over_two_topics_makes_a_whole_case(robot, spool):
    robot._task.publish(String(data='drive on'))
    robot._task.publish(String(data='go and dock'))
    content = robot.wait_for_cases(1)
    assert (content['cause'], content['trigger']['rule']) == ('docking', 'docking')
    assert content['trigger']['source'] == 'task'
    assert content['trigger']['priority'] == 77
    assert content['trigger']['values'] == {
        'campaign': 'docks-26', 'task.data': 'go and dock', 'length(scan.ranges)': '720'}
    check_window(robot, content, spool / content['case_id'])


def test_silence_is_noticed_without_a_message(robot, spool):
    known = len(robot.cases)
    robot.policy('triton:a')
    content = robot.wait_for_cases(known + 1)
    assert (content['cause'], content['trigger']['source']) == ('silent', 'time')


def test_triggers_that_merge_make_one_case(robot, spool):
    known = len(robot.cases)
    for source in ('triton:b', 'triton:c', 'triton:d'):
        robot.policy(source)
    content = robot.wait_for_cases(known + 1)
    assert content['cause'] == 'led_anew'
    assert content['trigger']['values']['merged'] == '2'
    assert content['window']['complete']
    assert len(scans(spool / content['case_id'])) >= (BEFORE_S + AFTER_S) * SCAN_HZ * 0.9


def test_a_rule_that_does_not_fit_its_topic_is_told_and_the_rest_goes_on(robot, spool):
    robot.wait_for(lambda: robot.health.get('triggers_not_running') == 'wrong')
    assert robot.level == WARN
    assert {content['cause'] for content in robot.cases} <= {'docking', 'silent', 'led_anew'}
