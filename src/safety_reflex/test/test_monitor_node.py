"""The real reflex and the real monitor, each in its own process: markers, and the black box."""

import os
import signal
import subprocess

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosidl_runtime_py.utilities import get_message
from test_node import COMMAND, CONFIG, SENSOR, Robot, reset
from test_views import SENSORS, TYPES, status_keys
from visualization_msgs.msg import Marker, MarkerArray

from safety_reflex.markers import SILENT

DOMAIN = '58'
MONITOR = ['ros2', 'run', 'safety_reflex', 'safety_monitor', '--ros-args',
           '-p', f'robot_file:={CONFIG}/robots/amr.yaml',
           '-p', f'fields_file:={CONFIG}/robots/amr.fields.yaml']
S = 1_000_000_000
# A busy test machine keeps its own robot waiting: that is no trip here.
PATIENT = ['-p', 'source_timeout_ms:=1000.0', '-p', 'loop_gap_ms:=1000.0',
           '-p', 'command_timeout_ms:=1000.0', '-p', 'max_stamp_age_ms:=2000.0',
           '-p', 'min_rate_share:=0.1', '-p', 'odom_lag_ms:=5000.0']


class System:
    """A reflex, a monitor and a robot around them; what the monitor draws and writes."""

    def __init__(self, folder, *more):
        self.boxes_dir = folder / 'boxes'
        env = os.environ | {'ROS_DOMAIN_ID': DOMAIN, 'ROS_LOG_DIR': str(folder)}
        fields = folder / 'patient.fields.yaml'
        amr = (CONFIG / 'robots/amr.fields.yaml').read_text()
        fields.write_text(amr.replace('reaction_s: 0.15', 'reaction_s: 1.05'))
        patient = [*PATIENT, '-p', f'fields_file:={fields}']
        self.reflex = subprocess.Popen([*COMMAND, *patient], env=env, start_new_session=True)
        self.monitor = subprocess.Popen(
            [*MONITOR, '-p', f'black_box_dir:={self.boxes_dir}', '-p', f'fields_file:={fields}',
             *more], env=env, start_new_session=True)
        self._context = Context()
        rclpy.init(context=self._context, domain_id=int(DOMAIN))
        self.robot = Robot(self._context)
        self.scene = {}
        self.robot.create_subscription(MarkerArray, 'safety/markers', self._on_markers, SENSOR)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.robot)

    def until(self, condition, seconds=15.0):
        end_ns = self.robot.get_clock().now().nanoseconds + int(seconds * S)
        while not condition():
            assert self.robot.get_clock().now().nanoseconds < end_ns, (
                f'{self.robot.states[-1:]}, {self.boxes()}, {self.text()!r}')
            self._executor.spin_once(timeout_sec=0.05)

    def drive(self):
        self.until(lambda: self.robot.state == 'LATCHED')
        # Both ends must be there before the story begins.
        self.until(lambda: self.text().startswith('LATCHED'))
        assert reset(self.robot, self.until).success
        self.until(lambda: self.robot.speed > 0.2)
        driven = len(self.robot.commands) + 100
        self.until(lambda: len(self.robot.commands) > driven)

    def boxes(self, cause='*'):
        return sorted(self.boxes_dir.glob(f'2*-{cause}'))

    def text(self):
        return self.scene['status'].text if 'status' in self.scene else ''

    def _on_markers(self, message):
        self.scene = {m.ns: m for m in message.markers if m.action == Marker.ADD}

    def end(self):
        codes = []
        for process in (self.monitor, self.reflex):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            codes.append(process.wait(10))
        self.robot.destroy_node()
        self._executor.shutdown()
        rclpy.try_shutdown(context=self._context)
        return codes


@pytest.fixture
def system(tmp_path, request):
    running = System(tmp_path, *getattr(request, 'param', ()))
    yield running
    assert running.end()[0] == 0


def read(folder):
    """(topic, stamp, message) of a bag, decoded with the definitions that are in it."""
    store = get_typestore(Stores.EMPTY)
    with Reader(folder) as reader:
        for connection in reader.connections:
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        return [(c.topic, stamp, store.deserialize_cdr(data, c.msgtype))
                for c, stamp, data in reader.messages()]


def values(message):
    return {pair.key: pair.value for pair in message.status[0].values}


def test_a_person_steps_in_and_the_box_tells_it(system):
    system.drive()
    system.robot.distance = 0.9
    system.until(lambda: system.robot.state == 'STOPPED' and system.robot.speed == 0.0)
    system.until(lambda: system.text().startswith('STOPPED\nprotective_field'))
    point = system.scene['deciding_point'].pose.position
    assert (point.x ** 2 + point.y ** 2) ** 0.5 == pytest.approx(0.9, abs=0.01)
    red = system.scene['stop_field'].color
    assert red.r > 0.9 > 0.3 > red.g
    system.until(lambda: system.boxes('protective_field'))
    [box] = system.boxes('protective_field')

    messages = read(box)
    told = [(stamp, values(m)) for topic, stamp, m in messages if topic == '/safety/state']
    about = yaml.safe_load((box / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    tripped_ns = int(about['custom_data']['trip_ns'])
    tripped = dict(told)[tripped_ns]
    assert tripped['state'] == 'STOPPED'
    assert 'protective_field' in tripped['reasons'].split(',')
    assert float(tripped['distance_m']) == pytest.approx(0.9, abs=0.01)
    assert any(told_['state'] in ('RUNNING', 'SLOWED') for _, told_ in told)

    scans = [(stamp, m) for topic, stamp, m in messages if topic == '/scan']
    before = [m for stamp, m in scans if stamp < tripped_ns]
    assert len(before) > 40
    assert before[-40].ranges.min() > 7.9
    assert before[-1].ranges.min() < 1.0   # the scan that stopped it
    assert scans[-1][0] > tripped_ns + S // 2
    commands = [m.twist.linear.x for topic, _, m in messages if topic == '/cmd_vel']
    assert max(commands) > 0.2
    assert commands[-1] == 0.0
    assert {'/scan', '/odom', '/cmd_vel', '/policy/cmd_vel', '/safety/state',
            '/safety/heartbeat'} <= {topic for topic, _, _ in messages}
    assert not list(system.boxes_dir.glob('.*'))   # nothing half written


def test_a_reflex_that_is_killed_leaves_a_box_too(system):
    system.drive()
    os.killpg(system.reflex.pid, signal.SIGKILL)
    system.until(lambda: system.text() == SILENT)
    assert 'stop_field' not in system.scene
    system.until(lambda: system.boxes('state_silent'))
    told = [values(m)['state'] for topic, _, m in read(system.boxes('state_silent')[0])
            if topic == '/safety/state']
    assert told[-1] in ('RUNNING', 'SLOWED')


def test_the_reflex_stops_without_a_monitor_that_answers(system):
    system.drive()
    os.killpg(system.monitor.pid, signal.SIGSTOP)
    try:
        system.robot.distance = 0.9
        system.until(lambda: system.robot.state == 'STOPPED' and system.robot.speed == 0.0)
        seen = len(system.robot.commands)
        system.until(lambda: len(system.robot.commands) > seen + 200)   # and streams on
    finally:
        os.killpg(system.monitor.pid, signal.SIGCONT)
    system.until(lambda: system.boxes('protective_field'))


def test_what_the_views_show_is_there(system):
    system.until(lambda: system.text().startswith('LATCHED'))
    assert status_keys() <= set(system.robot.states[-1])
    system.until(lambda: {'/policy/cmd_vel', '/teleop/cmd_vel', *SENSORS} <= dict(
        system.robot.get_topic_names_and_types()).keys())
    found = dict(system.robot.get_topic_names_and_types())
    for topic in TYPES.keys() & found.keys():
        assert [get_message(name) for name in found[topic]] == [TYPES[topic]]


@pytest.mark.parametrize('system', [('-p', 'black_box_after_s:=30.0')], indirect=True)
def test_what_is_open_is_written_when_it_is_told_to_end(system):
    system.drive()
    system.robot.distance = 0.9
    system.until(lambda: system.text().startswith('STOPPED'))
    os.killpg(system.monitor.pid, signal.SIGINT)   # its 30 seconds after the trip still run
    assert system.monitor.wait(10) == 0
    [box] = system.boxes()
    assert any(topic == '/scan' for topic, _, _ in read(box))


@pytest.mark.parametrize(('name', 'value', 'sentence'), [
    ('black_box_keep', '0', 'parameter black_box_keep = 0: must be 1 to 10000'),
    ('black_box_topics', '["a b"]', 'parameter black_box_topics: \'a b\''),
    ('robot_file', '/nowhere.yaml', '/nowhere.yaml: cannot be read'),
])
def test_it_refuses_parameters_with_a_sentence(name, value, sentence, tmp_path):
    env = os.environ | {'ROS_DOMAIN_ID': DOMAIN, 'ROS_LOG_DIR': str(tmp_path)}
    done = subprocess.run([*MONITOR, '-p', 'black_box_dir:=""', '-p', f'{name}:={value}'], env=env,
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
