"""A policy moves the simulated arm through the real reflex, a stop holds it, a reset lets it go on.

The target `desk` as people start it, GR00T's stand-in behind a real Triton and behind GR00T's own
wire. Everything that is judged was heard on topics.
"""

import contextlib
import importlib.util
import math
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import yaml
import zmq
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from bringup.group import Group
from policy_client import embodiment_file
from policy_client.desk_triton import DeskTriton, available, standin_for
from policy_client.embodiment import Embodiment

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / 'src/policy_client/test'))

import gr00t_server  # noqa: E402

EMBODIMENTS = ROOT / 'config/embodiments'
MODELS = ROOT / 'docker/triton/model_repository'
JOINTS = yaml.safe_load((ROOT / 'config/robots/amr_so100.yaml').read_text())['arm']['joints']
NAMES = [joint['name'] for joint in JOINTS]
MAX_VELOCITY = np.array([joint['max_velocity'] for joint in JOINTS])
BRAKING = np.array([joint['braking'] for joint in JOINTS])
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
EVERY = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
PICK, PUT = 'pick up the cube', 'put it down'
# Joints hang below their set points by their weight; a pose is reached within a little more, rad.
HANGING, NEAR = 0.03, 0.06
ESTOP = 'safety/estop/button'
# The target, and an e-stop button: a topic that each site names itself.
WITH_BUTTON = '''
from bringup.launch_target import target_launch_description
from launch import LaunchDescription
from launch_ros.actions import SetParametersFromFile


def generate_launch_description():
    return LaunchDescription([SetParametersFromFile(__file__.replace('.launch.py', '.yaml')),
                              target_launch_description('desk')])
'''
BUTTON = f'safety_reflex: {{ros__parameters: {{estop_topics: [{ESTOP}]}}}}'


class Operator:
    """Whoever stands beside the robot: says the task, resets, holds the button, watches."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = node = rclpy.create_node('operator', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(node)
        self.measured: list[tuple[float, np.ndarray, np.ndarray]] = []  # s, rad, rad/s
        self.sent: list[tuple[float, np.ndarray, np.ndarray]] = []  # s, rad, rad/s
        self.wished: list[tuple[float, np.ndarray]] = []            # s, rad: the policy's
        self.safety: dict[str, str] = {}
        self.policy: dict[str, str] = {}
        self.image: np.ndarray | None = None
        self.pressed = False
        node.create_subscription(JointState, 'joint_states', self._on_joints, SENSOR)
        node.create_subscription(JointTrajectory, 'joint_trajectory', self._on_set_point, EVERY)
        node.create_subscription(JointTrajectory, 'policy/joint_trajectory', self._on_wish, EVERY)
        node.create_subscription(DiagnosticArray, 'safety/state', self._on_safety, LATCHED)
        node.create_subscription(DiagnosticArray, 'policy/status', self._on_policy, LATCHED)
        node.create_subscription(Image, 'camera/webcam/image_raw', self._on_image, SENSOR)
        self._task = node.create_publisher(String, 'task', LATCHED)
        self._button = node.create_publisher(Bool, ESTOP, EVERY)
        self._reset = node.create_client(Trigger, 'safety/reset')
        node.create_timer(0.05, lambda: self._button.publish(Bool(data=self.pressed)))

    def _on_joints(self, message: JointState) -> None:
        at = [message.name.index(name) for name in NAMES]
        self.measured.append((seconds(message), np.array(message.position)[at],
                              np.array(message.velocity)[at]))

    def _on_set_point(self, message: JointTrajectory) -> None:
        [point] = message.points
        self.sent.append((seconds(message), np.array(point.positions),
                          np.array(point.velocities)))

    def _on_wish(self, message: JointTrajectory) -> None:
        self.wished.append((seconds(message), np.array(message.points[0].positions)))

    def _on_safety(self, message: DiagnosticArray) -> None:
        self.safety = {pair.key: pair.value for pair in message.status[0].values}

    def _on_policy(self, message: DiagnosticArray) -> None:
        self.policy = {pair.key: pair.value for pair in message.status[0].values}

    def _on_image(self, message: Image) -> None:
        self.image = np.frombuffer(bytes(message.data), np.uint8).reshape(
            message.height, message.width, 3)

    @property
    def state(self) -> str:
        return self.safety.get('state', '')

    def say(self, task: str) -> None:
        self._task.publish(String(data=task))

    def until(self, condition: Callable[[], Any], what: str, limit_s: float = 25.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, f'{what}: {self.safety} {self.policy}'
            self.executor.spin_once(timeout_sec=0.05)

    def watch(self, duration_s: float) -> None:
        """Listen until joint states of so much more time have come."""
        begin = self.measured[-1][0]
        self.until(lambda: self.measured[-1][0] - begin >= duration_s, 'joint states')

    def reset(self) -> None:
        """Press reset, again where it was too early, until the robot may move."""
        asked_s = -math.inf

        def running() -> bool:
            nonlocal asked_s
            ready = self.state == 'LATCHED' and self._reset.service_is_ready()
            if ready and time.monotonic() - asked_s > 0.7:
                self._reset.call_async(Trigger.Request())
                asked_s = time.monotonic()
            return self.state == 'RUNNING'

        self.until(running, 'running after a reset')

    def speed(self) -> float:
        """Of the fastest joint in the newest set point, rad/s."""
        return float(np.abs(self.sent[-1][2]).max())

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


def seconds(message: Any) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


@contextlib.contextmanager
def desk(domain: int, folder: Path, launch: list[str], *arguments: str) -> Iterator[Operator]:
    """The target running in a domain of its own, and its operator."""
    env = os.environ | {'ROS_DOMAIN_ID': str(domain), 'ROS_LOG_DIR': str(folder)}
    command = ['ros2', 'launch', *launch, f'black_box_dir:={folder}/black_box', *arguments]
    operator = Operator(domain)
    try:
        with Group(command, folder / 'desk.log', env) as group:
            try:
                yield operator
            except AssertionError as error:
                raise AssertionError(f'{error}\n{group.tail(30)}') from error
            finally:
                # As a terminal does; told alone, launch waits 8 s for its nodes to end first.
                assert group._process
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group._process.pid, signal.SIGINT)
    finally:
        operator.close()


@pytest.fixture(scope='module')
def robot() -> Embodiment:
    return embodiment_file.load(EMBODIMENTS / 'so100.yaml')


@pytest.fixture(scope='module')
def standin() -> Any:
    """The stand-in for GR00T's policy class, in this process."""
    path = MODELS / 'groot/1/standin.py'
    spec = importlib.util.spec_from_file_location('standin', path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.StandinPolicy('so100', path.with_suffix(''))


@pytest.fixture(scope='module')
def triton(tmp_path_factory: Any) -> Iterator[DeskTriton]:
    if not available(os.environ):
        assert not os.environ.get('CI'), 'there is no Triton to test against'
        pytest.skip('there is no Triton to test against (use ./dev test)')
    repository = tmp_path_factory.mktemp('models')
    shutil.copytree(MODELS / 'groot', repository / 'so100',
                    ignore=shutil.ignore_patterns('__pycache__'))
    config = repository / 'so100/config.pbtxt'
    text = config.read_text().replace('name: "groot"', 'name: "so100"')
    parameters = standin_for(EMBODIMENTS / 'so100.yaml') | {'image_size': '240x320'}
    for key, value in parameters.items():
        text, count = re.subn(rf'("{key}", value: {{ string_value: )"[^"]*"', rf'\1"{value}"', text)
        assert count == 1, key
    config.write_text(text)
    with DeskTriton(repository, models=['so100']) as server:
        yield server


@pytest.fixture
def gr00t(standin: Any) -> Iterator[str]:
    """The URL of a server with GR00T's own wire, and the stand-in behind it."""
    socket = zmq.Context.instance().socket(zmq.REP)
    port = socket.bind_to_random_port('tcp://127.0.0.1')
    ending = threading.Event()
    thread = threading.Thread(target=serve, args=(socket, standin, ending))
    thread.start()
    yield f'zmq://127.0.0.1:{port}?image=240x320'
    ending.set()
    thread.join()
    socket.close(0)


def serve(socket: zmq.Socket, policy: Any, ending: threading.Event) -> None:
    while not ending.is_set():
        if not socket.poll(50):
            continue
        request = gr00t_server.unpack(socket.recv(), gr00t_server.NPY)
        match request['endpoint']:
            case 'get_action':
                answer: Any = policy.get_action(**request['data'])
            case 'get_modality_config':
                config = policy.get_modality_config()
                answer = {kind: {'__ModalityConfig_class__': True, 'as_json': vars(part)}
                          for kind, part in config.items()}
            case _:
                answer = {'status': 'ok', 'message': 'Server is running'}
        socket.send(gr00t_server.pack(answer, gr00t_server.NPY))


@pytest.fixture
def aim(standin: Any, robot: Embodiment) -> Callable[[str, np.ndarray], np.ndarray]:
    """Where the stand-in leads the arm for a task and what its camera sees, rad."""
    def found(task: str, image: np.ndarray) -> np.ndarray:
        observation = {'video': {'webcam': image[None, None]},
                       'state': {'single_arm': np.zeros((1, 1, 5), np.float32),
                                 'gripper': np.zeros((1, 1, 1), np.float32)},
                       'language': {'annotation.human.task_description': [[task]]}}
        actions, _ = standin.get_action(observation)
        rows = np.concatenate([actions['single_arm'], actions['gripper']], axis=2)[0]
        # From a state of zero, row k is so far on the way to the target: 1/standin.py.
        target = rows[-1] / (1.0 - math.exp(-(len(rows) - 1) / 20.0))
        return np.array([part.scale * value + part.offset
                         for part, value in zip(robot.columns, target, strict=True)])
    return found


def arrived(operator: Operator, aim: Any, task: str) -> bool:
    return operator.image is not None and bool(np.all(
        np.abs(operator.measured[-1][1] - aim(task, operator.image)) < NEAR))


def assert_within_limits(operator: Operator, resets: int) -> None:
    """Of set points, and of the arm. A reset takes the position anew: a step by what it hung."""
    times = np.array([at for at, _, _ in operator.sent])
    positions, velocities = (np.array([row[i] for row in operator.sent]) for i in (1, 2))
    assert np.all(np.abs(velocities) <= MAX_VELOCITY * (1 + 1e-9))
    lasting = np.diff(times)[:, None]
    assert np.all(np.abs(np.diff(velocities, axis=0)) <= BRAKING * lasting * 1.05 + 1e-3)
    steps = np.abs(np.diff(positions, axis=0))
    jumps = np.any(steps > MAX_VELOCITY * lasting * 1.05 + 1e-3, axis=1)
    assert jumps.sum() <= resets
    assert np.all(steps[jumps] <= HANGING)
    # The servo's answer swings by a little about a set point that speeds up and slows down.
    assert np.all(np.abs([row[2] for row in operator.measured]) <= 1.2 * MAX_VELOCITY)


def test_triton_moves_the_arm_and_a_stop_holds_it(triton: DeskTriton, aim: Any,
                                                  tmp_path: Path) -> None:
    (tmp_path / 'button.launch.py').write_text(WITH_BUTTON)
    (tmp_path / 'button.yaml').write_text(BUTTON)
    with desk(190, tmp_path, [str(tmp_path / 'button.launch.py')],
              f'endpoint:={triton.endpoint}', 'model:=so100') as operator:
        operator.say(PICK)
        operator.until(lambda: 'triton:policy:closed' in operator.policy.get('routes', ''),
                       'the handshake')
        operator.until(lambda: operator.image is not None and operator.measured, 'the arm')
        assert not arrived(operator, aim, PICK)
        operator.reset()
        operator.until(lambda: arrived(operator, aim, PICK), 'the first pose')
        assert operator.policy['rejected_chunks'] == '0'
        assert operator.policy['real_time_chunking'] == 'true'
        way = np.array([positions for _, positions, _ in operator.sent])
        travelled = np.abs(np.diff(way, axis=0)).sum(axis=0)
        assert np.all(travelled <= 1.5 * np.abs(way[-1] - way[0]) + 0.1), 'it swings'

        operator.say(PUT)
        operator.until(lambda: operator.speed() > 0.3, 'on the way to the second pose')
        operator.pressed = True
        operator.until(lambda: operator.state == 'LATCHED' and operator.speed() == 0.0, 'a stop')
        assert not arrived(operator, aim, PUT)
        held, stopped = operator.sent[-1][1], len(operator.sent)
        operator.watch(0.5)
        first = operator.measured[-1][1]
        operator.watch(1.0)
        assert np.all(np.abs(operator.measured[-1][1] - first) < 1e-3), 'it sinks'
        assert np.all(np.abs(first - held) < HANGING)
        operator.pressed = False
        operator.watch(0.5)
        assert operator.state == 'LATCHED', 'it went on by itself'
        assert all(np.array_equal(row[1], held) for row in operator.sent[stopped:])

        wished = len(operator.wished)
        operator.reset()
        operator.until(lambda: len(operator.wished) > wished, 'the policy')
        assert np.all(np.abs(operator.wished[wished][1] - first) < 2 * HANGING), 'a jump'
        operator.until(lambda: arrived(operator, aim, PUT), 'the second pose')
        assert_within_limits(operator, resets=2)


def test_gr00t_s_own_server_moves_the_arm(gr00t: str, aim: Any, tmp_path: Path) -> None:
    with desk(191, tmp_path, ['bringup', 'desk.launch.py'], f'endpoint:={gr00t}') as operator:
        operator.say(PICK)
        operator.reset()
        operator.until(lambda: arrived(operator, aim, PICK), 'the pose')
        assert operator.policy['source'] == 'gr00t:policy'
        assert_within_limits(operator, resets=1)
