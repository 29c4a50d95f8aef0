"""DDS Security end to end: the real keystore, the real reflex, and intruders that are refused."""

import json
import math
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from enclave_peer import FALSE_SPEED
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool

from bringup.security import keystore
from bringup.security.policy import PolicyError, read_policy

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / 'config' / 'security' / 'spinal.policy.xml'
PEER = Path(__file__).with_name('enclave_peer.py')
DOMAIN = 26
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
REFLEX = ['ros2', 'run', 'safety_reflex', 'safety_reflex', '--ros-args',
          '--enclave', '/spinal/reflex',
          '-p', f'robot_file:={ROOT}/config/robots/amr.yaml',
          '-p', f'fields_file:={ROOT}/config/robots/amr.fields.yaml']
# Every output and protected input, and who alone may write it.
WRITERS = {
    'rt/cmd_vel': {'reflex'}, 'rt/joint_trajectory': {'reflex'}, 'rt/safety/state': {'reflex'},
    'rt/safety/heartbeat': {'reflex'}, 'rt/safety/enable': {'watchdog'},
    'rt/scan': {'base'}, 'rt/scan_rear': {'base'}, 'rt/odom': {'base'}, 'rt/joint_states': {'base'},
    'rt/clock': {'base'}, 'rt/safety/muting/dock': {'base'},
    'rt/safety/estop/front': {'buttons'}, 'rt/safety/estop/fleet': {'fleet'},
    'rt/policy/cmd_vel': {'policy'}, 'rt/policy/joint_trajectory': {'policy'},
    'rt/teleop/cmd_vel': {'operator'}, 'rq/safety/resetRequest': {'operator'},
    'rr/safety/resetReply': {'reflex'}, 'rq/safety_reflex/set_parametersRequest': set(),
    'rq/safety_reflex/change_stateRequest': {'bringup'}, 'rt/recorder/event': {'recorder'}}

STARTED = []
# What the reflex would say if it heard the intruder, or only saw it.
INTRUDED = {'second_publisher', 'publisher_replaced', 'scan_geometry', 'scan_malformed',
            'protective_field'}


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    out = tmp_path_factory.mktemp('keys') / 'store'
    assert keystore.main(['--policy', str(POLICY), '--out', str(out)]) == 0
    return out


@pytest.fixture
def secured(keys, monkeypatch):
    for name, value in {'ROS_SECURITY_KEYSTORE': str(keys), 'ROS_SECURITY_ENABLE': 'true',
                        'ROS_SECURITY_STRATEGY': 'Enforce', 'ROS_DOMAIN_ID': str(DOMAIN)}.items():
        monkeypatch.setenv(name, value)


class Base:
    """Drivers and base of a robot in the enclave /spinal/base, with the real reflex beside it."""

    def __init__(self, folder, require_enable=False):
        env = os.environ | {'ROS_LOG_DIR': str(folder)}
        command = [*REFLEX, '-p', f'require_enable:={str(require_enable).lower()}']
        self._reflex = subprocess.Popen(command, env=env, start_new_session=True)
        self.context = Context()
        rclpy.init(args=['--ros-args', '--enclave', '/spinal/base'], context=self.context,
                   domain_id=DOMAIN)
        self.node = rclpy.create_node('robot', context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.states, self.commands, self.enable = [], [], []
        self._tick = 0
        self._scan = self.node.create_publisher(LaserScan, 'scan', SENSOR)
        self._odom = self.node.create_publisher(Odometry, 'odom', SENSOR)
        self.node.create_subscription(DiagnosticArray, 'safety/state', self._on_state, LATCHED)
        self.node.create_subscription(TwistStamped, 'cmd_vel', self.commands.append, 1)
        self.node.create_subscription(Bool, 'safety/enable', self.enable.append, 1)
        self.node.create_timer(0.025, self._publish)

    @property
    def reasons(self):
        return self.states[-1]['reasons'].split(',') if self.states else []

    def _on_state(self, message):
        self.states.append({pair.key: pair.value for pair in message.status[0].values})

    def _publish(self):
        self._tick += 1
        step = 2 * math.pi / 720
        scan = LaserScan(angle_min=-math.pi, angle_max=math.pi - step, angle_increment=step,
                         range_min=0.05, range_max=20.0,
                         ranges=[8.0 + 0.001 * ((i + self._tick) % 7) for i in range(720)])
        scan.header.stamp = self.node.get_clock().now().to_msg()
        self._scan.publish(scan)
        odometry = Odometry()
        odometry.header.stamp = scan.header.stamp
        self._odom.publish(odometry)

    def until(self, condition, seconds=20.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.reasons, self.states[-1:])
            self._executor.spin_once(timeout_sec=0.05)

    def until_it_hears(self):
        """Every source is fresh, and only the restart interlock holds the robot."""
        self.until(lambda: set(self.reasons) - {'command_stale'} == {'start_up'})

    def beside(self, process):
        """Go on publishing while another process runs; its output."""
        self.until(lambda: process.poll() is not None)
        return process.communicate()[0]

    def close(self):
        os.killpg(self._reflex.pid, signal.SIGINT)
        self._reflex.wait(10)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def base(secured, tmp_path):
    base = Base(tmp_path)
    yield base
    base.close()


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait(10)
        process.stdout.close()


def start(*command, **variables):
    STARTED.append(subprocess.Popen([*map(str, command)], env=os.environ | variables, text=True,
                                    stdout=subprocess.PIPE))
    return STARTED[-1]


def shouting(enclave, **variables):
    return start(sys.executable, PEER, 'shout', enclave, 4, **variables)


def test_who_has_no_enclave_matches_nobody(base):
    base.until_it_hears()
    seen = len(base.states)
    result = json.loads(base.beside(shouting('-', ROS_SECURITY_ENABLE='false')))
    assert result == {'matched': {'cmd_vel': 0, 'scan': 0}, 'heard': 0}
    assert len(base.states) > seen
    reasons = {reason for state in base.states[seen:] for reason in state['reasons'].split(',')}
    assert 'start_up' in reasons
    assert not reasons & INTRUDED
    assert base.commands
    assert all(command.twist.linear.x == 0.0 for command in base.commands)


def test_without_security_the_reflex_latches_on_the_intruder(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'false')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(DOMAIN))
    base = Base(tmp_path)
    try:
        base.until_it_hears()
        intruder = shouting('-')
        base.until(lambda: 'second_publisher' in base.reasons)
        result = json.loads(base.beside(intruder))
        # The same intruder, and here it reaches the base: what is refused elsewhere is real.
        assert result['matched']['cmd_vel'] >= 1
        assert result['heard'] > 0
        assert any(command.twist.linear.x == FALSE_SPEED for command in base.commands)
        assert base.states[-1]['state'] == 'LATCHED'
    finally:
        base.close()


@pytest.mark.parametrize(('enclave', 'may', 'may_not'), [
    ('policy', ['policy/cmd_vel'], ['cmd_vel', 'scan', 'safety/enable', 'teleop/cmd_vel']),
    ('operator', ['teleop/cmd_vel'], ['scan', 'cmd_vel', 'safety/estop/front']),
    ('base', ['scan'], ['cmd_vel', 'safety/heartbeat', 'safety/enable']),
    ('buttons', ['safety/estop/front'], ['safety/estop/fleet', 'safety/enable']),
    ('fleet', ['safety/estop/fleet'], ['safety/estop/front', 'teleop/cmd_vel']),
    ('recorder', [], ['cmd_vel', 'scan', 'policy/cmd_vel', 'safety/state']),
])
def test_a_wrong_enclave_is_refused_its_publisher(secured, enclave, may, may_not):
    peer = start(sys.executable, PEER, 'try', f'/spinal/{enclave}', *may, *may_not)
    made = json.loads(peer.communicate(timeout=30)[0])
    assert made == dict.fromkeys(may, True) | dict.fromkeys(may_not, False)


def test_an_unknown_enclave_has_no_node(secured):
    peer = start(sys.executable, PEER, 'try', '/spinal/stranger', 'scan')
    peer.communicate(timeout=30)
    assert peer.returncode != 0


def test_only_the_operator_can_ask_for_the_reset(base):
    base.until_it_hears()
    call = ['ros2', 'service', 'call', '/safety/reset', 'std_srvs/srv/Trigger']
    refused = start(*call, ROS_SECURITY_ENCLAVE_OVERRIDE='/spinal/fleet')
    assert 'response' not in base.beside(refused)
    assert refused.returncode != 0
    granted = start(*call, ROS_SECURITY_ENCLAVE_OVERRIDE='/spinal/operator')
    assert 'success=True' in base.beside(granted)


def test_the_watchdog_refuses_a_domain_that_it_cannot_secure(secured):
    done = subprocess.run([sys.executable, '-m', 'safety_watchdog'], capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        'safety_watchdog: refuses to enable: it cannot join the secured domain')


@pytest.mark.skipif('SPINAL_SECURE_BINDING' not in os.environ,
                    reason='SPINAL_SECURE_BINDING names no binding with DDS Security '
                           '(docs/security.md)')
def test_the_watchdog_joins_with_a_binding_that_has_security(secured, tmp_path):
    base = Base(tmp_path, require_enable=True)
    try:
        base.until(lambda: 'enable_lost' in base.reasons)
        watchdog = start(sys.executable, '-m', 'safety_watchdog',
                         '--binding', os.environ['SPINAL_SECURE_BINDING'])
        base.until(lambda: base.enable and base.enable[-1].data)
        base.until_it_hears()
        watchdog.send_signal(signal.SIGTERM)
        base.until(lambda: not base.enable[-1].data and 'enable_lost' in base.reasons)
        base.beside(watchdog)
        assert watchdog.returncode == 0
    finally:
        base.close()


def test_each_protected_topic_has_its_writer_and_no_other():
    policy = read_policy(POLICY.read_text())
    for topic, wanted in WRITERS.items():
        found = {path.removeprefix('/spinal/') for path, rights in policy.items()
                 if rights.may_publish(topic)}
        assert found == wanted, topic


def test_in_a_namespace_the_rights_move_with_the_robot():
    reflex = read_policy(POLICY.read_text(), '/robot_7')['/spinal/reflex']
    assert reflex.may_publish('rt/robot_7/cmd_vel')
    assert not reflex.may_publish('rt/cmd_vel')
    assert not reflex.may_publish('rt/robot_8/cmd_vel')


def test_secrets_are_secret_and_a_ca_is_never_overwritten(keys, capsys):
    secrets = [*keys.rglob('*key.pem')]
    assert len(secrets) == 1 + len(read_policy(POLICY.read_text()))
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    before = {path: path.read_bytes() for path in keys.rglob('*.pem')}
    assert keystore.main(['--policy', str(POLICY), '--out', str(keys)]) == 2
    assert 'is there already' in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in keys.rglob('*.pem')}
    # An update signs anew, and keeps the CA and every identity.
    assert keystore.main(['--policy', str(POLICY), '--out', str(keys), '--update']) == 0
    assert before == {path: path.read_bytes() for path in keys.rglob('*.pem')}


def test_an_update_without_a_ca_says_so(tmp_path, capsys):
    assert keystore.main(['--policy', str(POLICY), '--out', str(tmp_path), '--update']) == 2
    assert '--update finds no CA' in capsys.readouterr().err


def policy(inside='<topics publish="ALLOW"><topic>a</topic></topics>', path='/e',
           profile='ns="/" node="n"'):
    return (f'<policy version="0.2.0"><enclaves><enclave path="{path}"><profiles>'
            f'<profile {profile}>{inside}</profile></profiles></enclave></enclaves></policy>')


@pytest.mark.parametrize(('text', 'sentence'), [
    ('<policy', 'not XML'),
    ('<!DOCTYPE a [<!ENTITY b "c">]>' + policy(), 'document type'),
    (' ' * 1_000_001, 'more than 1000000'),
    (policy().replace('0.2.0', '0.1.0'), 'version="0.2.0"'),
    ('<policy version="0.2.0"><enclaves/></policy>', 'without an enclave'),
    (policy(path='no/slash'), "path 'no/slash'"),
    (policy(path='/' + 'a' * 64), 'longer than 64'),
    (policy('<topics publish="MAYBE"><topic>a</topic></topics>'), 'neither ALLOW nor DENY'),
    (policy('<topics speak="ALLOW"><topic>a</topic></topics>'), 'takes publish or subscribe'),
    (policy('<topics publish="ALLOW"><topic>a&lt;b</topic></topics>'), "a topic 'a<b'"),
    (policy('<actions call="ALLOW"><action>a</action></actions>'), '<actions> is neither'),
    (policy(profile='ns="/" node="a b"'), "node 'a b'"),
    (policy().replace('</enclaves>', policy()[33:-20] + '</enclaves>'), 'stands there twice'),
])
def test_a_policy_that_cannot_be_used_is_refused_in_one_sentence(text, sentence):
    with pytest.raises(PolicyError) as caught:
        read_policy(text)
    assert sentence in str(caught.value)
    assert '\n' not in str(caught.value)
