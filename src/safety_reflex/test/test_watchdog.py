"""The real watchdog beside the real reflex: what a base hears when the reflex dies.

The stated deadline is 100 ms from the fault to the receipt of the first false; 250 ms are allowed
to a shared test machine, and the measured figure is printed and recorded.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, UInt64

CONFIG = Path(__file__).resolve().parents[3] / 'config'
DOMAIN = 22
ALLOWED_MS = 250
HEARTBEAT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
REFLEX = ['ros2', 'run', 'safety_reflex', 'safety_reflex', '--ros-args',
          '-p', f'robot_file:={CONFIG}/robots/amr.yaml',
          '-p', f'fields_file:={CONFIG}/robots/amr.fields.yaml']
WATCHDOG = [sys.executable, '-m', 'safety_watchdog']
# Says when it begins, leaves nothing of its core to anything below, and ends by itself.
HOG = """
import os, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(95))
end = time.monotonic() + 1.5
print(time.monotonic(), flush=True)
while time.monotonic() < end:
    pass
"""


class Base:
    """Hears safety/enable as a robot's base does, and starts what is watched."""

    def __init__(self, folder, namespace=''):
        cores = sorted(os.sched_getaffinity(0))
        self.own_core, self.reflex_core = cores[0], cores[-1]
        self._all_cores = cores
        self.env = os.environ | {'ROS_DOMAIN_ID': str(DOMAIN), 'ROS_LOG_DIR': str(folder)}
        self._log = folder / 'watchdog.txt'
        self._running = []
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node('base', context=self.context, namespace=namespace)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.heard = []
        self.node.create_subscription(
            Bool, 'safety/enable', lambda m: self.heard.append((time.monotonic(), m.data)), 1)

    @property
    def enabled(self):
        return bool(self.heard) and self.heard[-1][1]

    @property
    def said(self):
        return self._log.read_text()

    def start_reflex(self):
        return self._start(REFLEX, None)

    def keep_clear(self):
        """Everything but the reflex goes to the other core, this process too."""
        for process in (os.getpid(), self.watchdog.pid):
            for thread in psutil.Process(process).threads():
                os.sched_setaffinity(thread.id, {self.own_core})

    def start_watchdog(self, *arguments):
        with open(self._log, 'w') as log:
            self.watchdog = self._start([*WATCHDOG, *arguments], log)
        return self.watchdog

    def _start(self, command, log):
        process = subprocess.Popen(command, env=self.env, start_new_session=True, stderr=log)
        self._running.append(process)
        return process

    def confine(self, process):
        """Keep every thread of a process and of its children on one core, away from this one."""
        leader = psutil.Process(process.pid)
        for one in (leader, *leader.children(recursive=True)):
            for thread in one.threads():
                os.sched_setaffinity(thread.id, {self.reflex_core})

    def until(self, condition, seconds=15.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.said
            self._executor.spin_once(timeout_sec=0.02)

    def listen(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def first_false_ms(self, fault_s):
        """Milliseconds from the fault to the receipt of the first false after it."""
        self.until(lambda: any(at > fault_s and not enable for at, enable in self.heard))
        return 1000 * next(at - fault_s for at, enable in self.heard if at > fault_s and not enable)

    def close(self):
        for process in reversed(self._running):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)
        for thread in psutil.Process().threads():
            os.sched_setaffinity(thread.id, self._all_cores)


@pytest.fixture
def base(tmp_path):
    base = Base(tmp_path)
    yield base
    base.close()


@pytest.fixture
def judged(record_property):
    def judge(fault, milliseconds):
        print(f'enable withdrawn {milliseconds:.1f} ms after {fault}')
        record_property(f'enable_withdrawn_ms_{fault}', round(milliseconds, 1))
        assert milliseconds < ALLOWED_MS
    return judge


def test_killed_and_restarted(base, judged):
    reflex = base.start_reflex()
    base.start_watchdog()
    base.until(lambda: base.enabled)
    fault = time.monotonic()
    os.killpg(reflex.pid, signal.SIGKILL)
    judged('kill', base.first_false_ms(fault))
    stopped = len(base.heard)
    base.listen(1.0)
    # A stream of false, not silence.
    assert len(base.heard) - stopped > 20
    assert not any(enable for _, enable in base.heard[stopped:])
    assert 'no heartbeat for 60 ms' in base.said
    base.start_reflex()
    base.until(lambda: base.enabled)


def test_stopped_and_continued(base, judged):
    reflex = base.start_reflex()
    base.start_watchdog()
    base.until(lambda: base.enabled)
    fault = time.monotonic()
    os.killpg(reflex.pid, signal.SIGSTOP)
    judged('sigstop', base.first_false_ms(fault))
    stopped = len(base.heard)
    base.listen(0.5)
    assert not any(enable for _, enable in base.heard[stopped:])
    stopped, continued = len(base.heard), time.monotonic()
    os.killpg(reflex.pid, signal.SIGCONT)
    base.until(lambda: base.enabled)
    again = next(at for at, enable in base.heard[stopped:] if enable)
    assert again - continued >= 0.2


def test_starved_of_its_core(base, judged):
    if base.own_core == base.reflex_core:
        pytest.skip('one core: the measurement would starve as well')
    reflex = base.start_reflex()
    base.start_watchdog()
    base.until(lambda: base.enabled)
    base.confine(reflex)
    base.keep_clear()
    with subprocess.Popen(['taskset', '-c', str(base.reflex_core), sys.executable, '-c', HOG],
                          stdout=subprocess.PIPE, text=True) as hog:
        line = hog.stdout.readline()
        if not line:
            pytest.skip('SCHED_FIFO is not given here, so nothing can starve the reflex')
        judged('starved', base.first_false_ms(float(line)))
    base.until(lambda: base.enabled)


def test_starved_in_slices(base):
    reflex = base.start_reflex()
    base.start_watchdog()
    base.until(lambda: base.enabled)
    slowed = time.monotonic()
    while base.enabled:
        assert time.monotonic() < slowed + 10
        os.killpg(reflex.pid, signal.SIGSTOP)
        base.listen(0.035)
        os.killpg(reflex.pid, signal.SIGCONT)
        base.listen(0.005)
    base.until(lambda: base.enabled)


class Impostor:
    """Beats like a reflex, from the test's own node."""

    def __init__(self, base):
        self.beating, self._value = True, 0
        self._publisher = base.node.create_publisher(UInt64, 'safety/heartbeat', HEARTBEAT)
        base.node.create_timer(0.02, self._beat)

    def _beat(self):
        if self.beating:
            self._value += 1
            self._publisher.publish(UInt64(data=self._value))


def test_it_speaks_as_rclpy_does_in_a_namespace_and_ends_with_false(tmp_path):
    base = Base(tmp_path, namespace='robot_7')
    try:
        Impostor(base)
        watchdog = base.start_watchdog('--namespace', 'robot_7', '--ros-args', '-r', '__node:=w')
        base.until(lambda: base.enabled)
        offered = base.node.get_publishers_info_by_topic('/robot_7/safety/enable')
        assert [(one.topic_type, one.qos_profile.reliability, one.qos_profile.durability)
                for one in offered] == [
            ('std_msgs/msg/Bool', ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)]
        wanted = base.node.get_subscriptions_info_by_topic('/robot_7/safety/heartbeat')
        assert [one.qos_profile.reliability for one in wanted] == [ReliabilityPolicy.BEST_EFFORT]
        watchdog.send_signal(signal.SIGTERM)
        base.until(lambda: not base.enabled)
        assert watchdog.wait(5) == 0
        assert base.said.splitlines()[-1] == 'safety_watchdog: enable false: the watchdog ends'
    finally:
        base.close()


def test_second_writers_and_bad_bytes(base):
    beater = Impostor(base)
    base.start_watchdog()
    base.until(lambda: base.enabled)
    second = base.node.create_publisher(UInt64, 'safety/heartbeat', HEARTBEAT)
    base.until(lambda: second.publish(UInt64(data=1)) or not base.enabled)
    assert '2 publishers of the heartbeat' in base.said
    base.node.destroy_publisher(second)
    base.until(lambda: base.enabled)

    rogue = base.node.create_publisher(Bool, 'safety/enable', 1)
    base.until(lambda: not base.enabled)
    assert '2 publishers of safety/enable' in base.said
    base.node.destroy_publisher(rogue)
    base.until(lambda: base.enabled)

    beater.beating = False
    broken = base.node.create_publisher(UInt64, 'safety/heartbeat', HEARTBEAT)
    base.until(lambda: not base.enabled)
    for size in range(12):
        broken.publish(b'\x00\x01\x00\x00' + b'\xff' * size)
    beater.beating = True
    base.until(lambda: base.enabled)


@pytest.mark.parametrize(('arguments', 'variables', 'sentence'), [
    (['--timeout-ms', '500'], {}, 'timeout = 500 ms: must be 10 to 90'),
    (['--namespace', 'robot 7'], {}, 'is not a ROS name'),
    ([], {'ROS_DOMAIN_ID': '300'}, 'ROS_DOMAIN_ID = 300'),
    ([], {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'MARS'}, 'ROS_AUTOMATIC_DISCOVERY_RANGE = MARS'),
    ([], {'ROS_SECURITY_ENABLE': 'true'}, 'without ROS_SECURITY_KEYSTORE'),
])
def test_it_refuses_to_enable_and_says_why(arguments, variables, sentence):
    env = os.environ | {'ROS_DOMAIN_ID': str(DOMAIN)} | variables
    done = subprocess.run([*WATCHDOG, *arguments], env=env, capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == 2
    assert 'refuses to enable' in done.stderr
    assert sentence in done.stderr.splitlines()[-1]
