"""The node in a process of its own, against real topics: what a robot's night would look like."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

os.environ['ROS_DOMAIN_ID'] = '41'

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from making import an_open_spool
from mcap.reader import make_reader
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import LaserScan
from std_msgs.msg import String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from edge_case_recorder import manifest
from edge_case_recorder.node import EdgeCaseRecorder
from edge_case_recorder.sealing import Key
from edge_case_recorder.spool import State, cases
from edge_case_recorder.unsealing import unseal_case
from node_kit import ParameterError

BEFORE_S, AFTER_S, SCAN_HZ = 0.8, 0.4, 40.0
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
EVENTS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE,
                    durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Robot(Node):
    """Publishes what a robot does, remembers it, and hears the recorder's events."""

    def __init__(self, context):
        super().__init__('robot', context=context)
        self.sent = []
        self.cases = []
        self.health = {}
        self._heard = threading.Condition()
        self._scan = self.create_publisher(LaserScan, 'scan', SENSOR)
        self._task = self.create_publisher(String, 'task', LATCHED)
        self._safety = self.create_publisher(DiagnosticArray, 'safety/state', LATCHED)
        self._policy = self.create_publisher(DiagnosticArray, 'policy/status', LATCHED)
        self._frames = [self.create_publisher(TFMessage, 'tf_static', LATCHED) for _ in range(2)]
        self.create_subscription(String, 'recorder/event', self._on_event, EVENTS)
        self.create_subscription(DiagnosticArray, 'diagnostics', self._on_diagnostics, 10)
        self.mark = self.create_client(Trigger, 'recorder/mark')
        self._task.publish(String(data='drive to the goal'))
        for publisher in self._frames:
            publisher.publish(TFMessage())
        self._state = ('RUNNING', '')
        self.create_timer(1 / SCAN_HZ, self._tick)
        self.create_timer(0.1, self._say_state)

    def safety(self, state, reasons=''):
        self._state = (state, reasons)
        self._say_state()

    def publish_raw_status(self, data):
        self._safety.publish(data)

    def policy(self, source, rejected=0):
        self._policy.publish(_status('policy_client', source=source, version='3',
                                     rejected_chunks=str(rejected)))

    def wait_for(self, condition, limit_s=10.0):
        with self._heard:
            assert self._heard.wait_for(condition, limit_s), (self.cases, self.health)

    def wait_for_cases(self, count, limit_s=10.0):
        self.wait_for(lambda: len(self.cases) >= count, limit_s)
        return self.cases[count - 1]

    def call(self, client, request, limit_s=10.0):
        """The reply. A reply may be lost while the two have just met (Cyclone): asked again."""
        assert client.wait_for_service(limit_s)
        limit = time.monotonic() + limit_s
        while time.monotonic() < limit:
            done = threading.Event()
            future = client.call_async(request)
            future.add_done_callback(lambda _, done=done: done.set())
            if done.wait(2.0):
                return future.result()
        raise AssertionError(f'no reply from {client.srv_name}')

    def state(self, recorder='edge_case_recorder'):
        client = self.create_client(GetState, f'{recorder}/get_state')
        return self.call(client, GetState.Request()).current_state.label

    def transit(self, transition, recorder='edge_case_recorder'):
        """Whether it was made. The state is asked first: then the two have met."""
        self.state(recorder)
        client = self.create_client(ChangeState, f'{recorder}/change_state')
        return self.call(client, ChangeState.Request(
            transition=Transition(id=transition))).success

    def _tick(self):
        message = LaserScan(ranges=[float(len(self.sent))] * 720)
        self.sent.append((time.time_ns(), serialize_message(message)))
        self._scan.publish(message)

    def _say_state(self):
        state, reasons = self._state
        self._safety.publish(_status('safety_reflex', state=state, reasons=reasons))

    def _on_event(self, message):
        with self._heard:
            self.cases.append(json.loads(message.data))
            self._heard.notify_all()

    def _on_diagnostics(self, message):
        with self._heard:
            for status in message.status:
                self.health = {pair.key: pair.value for pair in status.values}
                self.level = status.level
            self._heard.notify_all()


def _status(name, **values):
    return DiagnosticArray(status=[DiagnosticStatus(name=name, values=[
        KeyValue(key=key, value=value) for key, value in values.items()])])


def start_recorder(spool, *more):
    return subprocess.Popen(
        [sys.executable, '-m', 'edge_case_recorder.node', '--ros-args',
         '-p', f'spool_dir:={spool}', '-p', f'before_s:={BEFORE_S}', '-p', f'after_s:={AFTER_S}',
         '-p', 'robot_id:=robot_7', '-p', 'min_free_bytes:=0', '-p', "versions:=['spinal=0.1.0']",
         '-p', "budgets:=['scan=8']", *more], stderr=subprocess.PIPE, text=True,
        env=os.environ | {'ROS_LOG_DIR': str(spool.parent / 'log')})


def spin(executor):
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


@pytest.fixture(scope='module')
def robot():
    context = Context()
    rclpy.init(context=context)
    node = Robot(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    spinning = threading.Thread(target=spin, args=[executor])
    spinning.start()
    yield node
    rclpy.shutdown(context=context)
    spinning.join(5)
    executor.shutdown()


@contextlib.contextmanager
def active_recorder(robot, spool, *more):
    """A recorder that has heard a whole window; told to end at the end, if it still runs."""
    process = start_recorder(spool, *more)
    robot.cases.clear()
    robot.health.clear()
    try:
        assert robot.transit(Transition.TRANSITION_CONFIGURE)
        assert robot.transit(Transition.TRANSITION_ACTIVATE)
        robot.wait_for(lambda: int(robot.health.get('topics', 0)) >= 5)
        received = int(robot.health['received'])
        robot.wait_for(lambda: int(robot.health['received']) > received + BEFORE_S * SCAN_HZ)
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(15)
    finally:
        process.kill()
        print(process.communicate()[1])


@pytest.fixture(scope='class')
def spool(robot, tmp_path_factory):
    """The spool of a recorder that runs."""
    root = tmp_path_factory.mktemp('night') / 'spool'
    with active_recorder(robot, root):
        yield root


def scans(folder):
    with Reader(folder) as reader:
        return [(stamp, bytes(data)) for connection, stamp, data in reader.messages()
                if connection.topic == '/scan']


def check_window(robot, content, folder):
    """Every scan of the window is there, byte for byte, but for one period at each end."""
    trigger_ns = content['trigger']['stamp_ns']
    slack_ns = 2e9 / SCAN_HZ
    surely = [data for sent_ns, data in robot.sent
              if trigger_ns - BEFORE_S * 1e9 + slack_ns <= sent_ns
              <= trigger_ns + AFTER_S * 1e9 - slack_ns]
    got = [data for _, data in scans(folder)]
    assert len(surely) > 0.8 * (BEFORE_S + AFTER_S) * SCAN_HZ
    assert got[got.index(surely[0]):got.index(surely[-1]) + 1] == surely
    assert len(got) <= len(surely) + 8
    assert content['window']['complete'], content['window']


def check_bag(folder):
    """Two readers agree, the messages decode, and latched topics come first."""
    store = get_typestore(Stores.ROS2_JAZZY)
    with Reader(folder) as reader:
        connections = {connection.topic: connection for connection in reader.connections}
        assert reader.ros_distro == 'jazzy'
        messages = [(connection.topic, stamp, bytes(data))
                    for connection, stamp, data in reader.messages()]
        texts = [store.deserialize_cdr(data, 'std_msgs/msg/String').data
                 for topic, _, data in messages if topic == '/task']
        ranges = [store.deserialize_cdr(data, 'sensor_msgs/msg/LaserScan').ranges[0]
                  for topic, _, data in messages if topic == '/scan']
    assert texts == ['drive to the goal']
    assert ranges == list(range(int(ranges[0]), int(ranges[0]) + len(ranges)))
    first_scan = [topic for topic, _, _ in messages].index('/scan')
    assert {'/task', '/tf_static'} <= {topic for topic, _, _ in messages[:first_scan]}
    offers = connections['/task'].ext.offered_qos_profiles
    assert [(offer.durability.name, offer.reliability.name) for offer in offers] == [
        ('TRANSIENT_LOCAL', 'RELIABLE')]
    assert connections['/scan'].ext.offered_qos_profiles[0].reliability.name == 'BEST_EFFORT'
    assert connections['/scan'].digest == store.hash_rihs01('sensor_msgs/msg/LaserScan')
    with open(next(folder.glob('*.mcap')), 'rb') as file:
        assert [(channel.topic, message.log_time, message.data) for _, channel, message
                in make_reader(file, validate_crcs=True).iter_messages()] == messages


class TestOneNight:
    """One recorder, told many things."""

    def test_a_person_and_two_more_triggers_make_three_whole_cases(self, robot, spool):
        robot.policy('triton:desk')
        robot.safety('SLOWED', 'warning_field')
        robot.safety('STOPPED', 'warning_field,protective_field')
        robot.policy('onnx')                          # overlaps with the stop
        marked = robot.call(robot.mark, Trigger.Request())
        robot.wait_for_cases(3)
        assert marked.success
        causes = {content['cause']: content for content in robot.cases}
        assert set(causes) == {'protective_field', 'policy_fallback', 'operator_mark'}
        assert causes['operator_mark']['case_id'] == marked.message
        assert causes['operator_mark']['versions']['models'] == {'onnx': '3'}
        for content in robot.cases:
            folder = spool / content['case_id']
            assert manifest.read(folder) == content
            check_window(robot, content, folder)
        robot.safety('STOPPED', 'protective_field,scan_lost')   # no new case
        robot.safety('RUNNING')
        robot.safety('LATCHED', 'estop')
        assert robot.wait_for_cases(4)['cause'] == 'estop'
        assert len(robot.cases) == 4
        assert [case.state for case in cases(spool)] == [State.RECORDED] * 4
        content = causes['protective_field']
        assert content['versions']['software']['spinal'] == '0.1.0'
        topics = {topic['name']: topic for topic in content['topics']}
        assert {'/scan', '/task', '/safety/state', '/policy/status', '/tf_static'} <= set(topics)
        assert all(topic['has_definition'] and topic['type_hash'] for topic in topics.values())
        check_bag(spool / content['case_id'])

    def test_a_status_that_is_none_is_recorded_and_harms_nobody(self, robot, spool):
        robot.publish_raw_status(b'\x00\x01\x00\x00\xff\xff\xff\xff\xff\xff')
        known = len(robot.cases)
        assert robot.call(robot.mark, Trigger.Request()).success
        robot.wait_for_cases(known + 1)

    def test_what_a_late_subscriber_asks_of_it_is_answered(self, robot, spool):
        """Parameters can be listed and read as of any node, and old events are still there."""
        late = []
        robot.create_subscription(String, 'recorder/event', lambda message: late.append(message),
                                  EVENTS)
        robot.wait_for(lambda: len(late) == len(robot.cases))
        parameters = robot.create_client(GetParameters, 'edge_case_recorder/get_parameters')
        reply = robot.call(parameters, GetParameters.Request(names=['before_s', 'robot_id']))
        assert reply.values[0].double_value == BEFORE_S
        assert reply.values[1].string_value == 'robot_7'

    def test_it_can_be_deactivated_and_used_again(self, robot, spool):
        assert robot.transit(Transition.TRANSITION_DEACTIVATE)
        refused = robot.call(robot.mark, Trigger.Request())
        assert not refused.success
        assert 'not active' in refused.message
        assert robot.transit(Transition.TRANSITION_ACTIVATE)
        assert robot.call(robot.mark, Trigger.Request()).success
        assert robot.wait_for_cases(len(robot.cases) + 1)['window']['truncated_by'] == 'late_start'
        assert robot.transit(Transition.TRANSITION_DEACTIVATE)
        assert robot.transit(Transition.TRANSITION_CLEANUP)
        assert robot.transit(Transition.TRANSITION_CONFIGURE)


def open_case(robot, spool):
    """A case whose window is open, and so much of it on the disk."""
    assert robot.call(robot.mark, Trigger.Request()).success
    robot.wait_for(lambda: int(robot.health.get('cases_open', 0)) == 1)
    [case] = cases(spool)
    assert case.state is State.PARTIAL


def test_ending_it_within_a_window_keeps_the_case(robot, tmp_path):
    spool = tmp_path / 'spool'
    with active_recorder(robot, spool, '-p', 'after_s:=30.0') as recorder:
        open_case(robot, spool)
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(15) == 0
    [case] = cases(spool)
    assert case.state is State.RECORDED
    content = manifest.read(case.folder)
    assert content['window']['truncated_by'] == 'shutdown'
    assert len(scans(case.folder)) > BEFORE_S * SCAN_HZ


def test_a_kill_within_a_window_is_recovered_by_the_next_start(robot, tmp_path):
    spool = tmp_path / 'spool'
    with active_recorder(robot, spool, '-p', 'after_s:=30.0', '-p', 'flush_s:=0.1') as recorder:
        open_case(robot, spool)
        recorder.kill()
        recorder.wait()
    # Under another name: for ten seconds the dead one still seems to offer its services.
    process = start_recorder(spool, '-r', '__node:=again')
    try:
        assert robot.transit(Transition.TRANSITION_CONFIGURE, 'again')
        began = time.monotonic()
        assert robot.transit(Transition.TRANSITION_ACTIVATE, 'again')
        content = robot.wait_for_cases(1)
        assert time.monotonic() - began < 5.0
    finally:
        process.kill()
        process.communicate()
    assert content['recovered']
    assert content['window']['truncated_by'] == 'crash'
    assert len(scans(spool / content['case_id'])) > BEFORE_S * SCAN_HZ * 0.9


def restart(robot, spool, name, *more):
    """A recorder that is active under a name of its own."""
    process = start_recorder(spool, '-r', f'__node:={name}', *more)
    assert robot.transit(Transition.TRANSITION_CONFIGURE, name)
    assert robot.transit(Transition.TRANSITION_ACTIVATE, name)
    return process


def test_a_sealed_case_waits_for_its_key_after_a_kill(robot, tmp_path):
    spool, key = tmp_path / 'spool', tmp_path / 'key'
    key.write_text('07' * 32)
    key.chmod(0o600)
    with active_recorder(robot, spool, '-p', 'after_s:=30.0', '-p', 'flush_s:=0.1',
                         '-p', f'key_file:={key}') as recorder:
        open_case(robot, spool)
        recorder.kill()
        recorder.wait()
    keyless = restart(robot, spool, 'keyless')
    keyless.send_signal(signal.SIGTERM)
    assert 'is sealed, and no key was given); it stays for the next start' in \
        keyless.communicate(timeout=15)[1]
    [case] = cases(spool)
    assert case.state is State.PARTIAL
    robot.cases.clear()
    again = restart(robot, spool, 'with_its_key', '-p', f'key_file:={key}')
    try:
        content = robot.wait_for_cases(1)
    finally:
        again.kill()
        again.communicate()
    assert content['recovered']
    folder = unseal_case(spool / content['case_id'], [Key.read(key)], tmp_path / 'plain')
    assert len(scans(folder)) > BEFORE_S * SCAN_HZ * 0.9
    assert not list(spool.rglob('*.mcap'))


def test_a_key_that_others_may_read_is_refused_at_configuring(robot, tmp_path):
    key = tmp_path / 'key'
    key.write_text('07' * 32)
    key.chmod(0o644)
    process = start_recorder(tmp_path / 'spool', '-p', f'key_file:={key}')
    try:
        assert not robot.transit(Transition.TRANSITION_CONFIGURE)
    finally:
        process.kill()
    assert f'key file {key}: others may read it (mode 0644)' in process.communicate()[1]


def test_a_rate_limit_holds_for_the_topics_that_it_names(robot, tmp_path):
    with active_recorder(robot, tmp_path / 'spool', '-p', "rates:=['sca*=10']"):
        robot.call(robot.mark, Trigger.Request())
        content = robot.wait_for_cases(1)
        topics = {topic['name']: topic for topic in content['topics']}
        assert content['window']['complete']
        assert topics['/scan']['rate_limit_hz'] == 10.0
        assert topics['/scan']['messages'] <= 10 * (BEFORE_S + AFTER_S) + 2
        received = topics['/scan']['messages'] + topics['/scan']['skipped']
        assert received > 0.8 * (BEFORE_S + AFTER_S) * SCAN_HZ
        assert topics['/safety/state']['rate_limit_hz'] is None
        assert topics['/safety/state']['skipped'] == 0


@pytest.mark.parametrize(('name', 'value'), [
    ('compression', 'rar'), ('robot_id', 'a/b'), ('topics', ['a b']), ('topics', ['scan//x']),
    ('budgets', ['scan']), ('rates', ['scan=0']), ('before_s', -1.0), ('versions', ['new'])])
def test_a_wrong_parameter_is_refused_by_name(robot, name, value):
    with pytest.raises(ParameterError, match=f'parameter {name}'):
        EdgeCaseRecorder(context=robot.context,
                         parameter_overrides=[Parameter(name, value=value)])


def test_a_refusal_is_one_sentence(tmp_path):
    process = start_recorder(tmp_path / 'spool', '-p', 'compression:=rar')
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.startswith("edge_case_recorder refuses to start: parameter compression = 'rar'")
    assert len(errors.splitlines()) == 1


def test_a_spool_that_somebody_has_is_not_taken(robot, tmp_path):
    spool = an_open_spool(tmp_path / 'spool')
    process = start_recorder(tmp_path / 'spool')
    try:
        assert not robot.transit(Transition.TRANSITION_CONFIGURE)
        assert robot.state() == 'unconfigured'
        spool.close()
        assert robot.transit(Transition.TRANSITION_CONFIGURE)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
    assert 'another recorder writes there' in process.communicate()[1]
