"""The whole robot over ROS in lock-step: world, reflex, policy client through Triton, recorder.

Each of them is the process that a robot runs. The harness is the operator: it says task and goal,
resets the reflex, and reads the truth that the world publishes.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from bringup.group import Group
from isaac_bridge.episode.drive import ARRIVED_M
from isaac_bridge.scenario import Scenario, read_scenario
from isaac_bridge.world import START_NS
from policy_client.desk_triton import DeskTriton

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'config'
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
EVERY = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
CONFIGURE, ACTIVATE = 1, 3
PATIENCE_S = 60.0
_MOVING_MPS = 0.05


@dataclass
class Shown:
    """What the topics told. rows (n, 5): t (s), x, y, yaw, v of each scan."""

    rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 5)))
    arrived: bool = False
    stops: int = 0
    stop_reasons: list[str] = field(default_factory=list)
    contacts: int = 0
    min_clearance_m: float = float('inf')
    wall_s: float = 0.0
    sources: set[str] = field(default_factory=set)
    cases: int = 0

    @property
    def real_time_factor(self) -> float:
        return float(self.rows[-1, 0] - self.rows[0, 0]) / self.wall_s


class Operator:
    """Waits for the robot, sets it going, and watches until it is at the goal."""

    def __init__(self, domain: int, scenario: Scenario) -> None:
        self._scenario = scenario
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = node = rclpy.create_node('operator', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self.shown = Shown()
        self._truth: list[dict[str, Any]] = []
        self._reflex: dict[str, str] = {}
        self._moved = False
        node.create_subscription(String, 'world/truth', self._on_truth, EVERY)
        node.create_subscription(DiagnosticArray, 'safety/state', self._on_reflex, LATCHED)
        node.create_subscription(DiagnosticArray, 'policy/status', self._on_policy, LATCHED)
        self._task = node.create_publisher(String, 'task', LATCHED)
        self._goal = node.create_publisher(PoseStamped, 'goal_pose', LATCHED)
        self._reset = node.create_client(Trigger, 'safety/reset')

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def make(self, name: str, *transitions: int) -> None:
        """Take a lifecycle node through its transitions."""
        client = self._node.create_client(ChangeState, f'{name}/change_state')
        for transition in transitions:
            request = ChangeState.Request()
            request.transition.id = transition
            if not self._call(client, request).success:
                raise AssertionError(f'{name} refused transition {transition}')

    def drive(self) -> Shown:
        """From the reset to the goal, or for the scenario's time."""
        self._task.publish(String(data=self._scenario.task.instruction))
        goal = PoseStamped()
        goal.header.frame_id = 'odom'
        goal.pose.position.x, goal.pose.position.y = self._scenario.goal
        self._goal.publish(goal)
        self._until(lambda: self._reflex.get('state') == 'LATCHED', 'the reflex is latched')
        self._call(self._reset, Trigger.Request())
        self._until(lambda: self._reflex.get('state') == 'RUNNING', 'the reflex runs')
        began, first = time.monotonic(), len(self._truth) - 1
        limit_ns = START_NS + round(self._scenario.task.limit_s * 1e9)
        self._until(lambda: self._at_goal() or self._truth[-1]['t_ns'] > limit_ns,
                    'the drive is over', 240.0)
        self.shown.wall_s = time.monotonic() - began
        self._judge(self._truth[max(first, 0):])
        return self.shown

    def _judge(self, truth: list[dict[str, Any]]) -> None:
        shown = self.shown
        shown.arrived = self._at_goal()
        shown.rows = np.array([[(row['t_ns'] - START_NS) * 1e-9, *row['robot'][:4]]
                               for row in truth])
        moving = [row for row in truth if abs(row['robot'][3]) > _MOVING_MPS]
        shown.contacts = sum(row['contact'] >= 0 for row in moving)
        shown.min_clearance_m = min((row['clearance_m'] for row in moving
                                     if row['clearance_m'] is not None), default=float('inf'))

    def _at_goal(self) -> bool:
        x, y, _, v, _ = self._truth[-1]['robot']
        gx, gy = self._scenario.goal
        return bool(np.hypot(gx - x, gy - y) <= ARRIVED_M and abs(v) < _MOVING_MPS)

    def _on_truth(self, message: String) -> None:
        self._truth.append(json.loads(message.data))

    def _on_reflex(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        before, self._reflex = self._reflex.get('state'), values
        if before in ('RUNNING', 'SLOWED') and values['state'] in ('STOPPED', 'LATCHED'):
            self.shown.stops += 1
            self.shown.stop_reasons.append(values['reasons'])

    def _on_policy(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        if values.get('state') == 'driving':
            self.shown.sources.add(values['source'])

    def _until(self, true: Any, what: str, seconds: float = PATIENCE_S) -> None:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise AssertionError(f'not within {seconds:g} s: {what}; reflex {self._reflex}')
            self._executor.spin_once(timeout_sec=0.1)

    def _call(self, client: Any, request: Any) -> Any:
        self._until(client.service_is_ready, f'{client.srv_name} is there')
        future = client.call_async(request)
        self._until(future.done, f'{client.srv_name} answers')
        return future.result()


@contextlib.contextmanager
def triton() -> Iterator[str]:
    """A real Triton with the repository's AMR model: its endpoint."""
    with DeskTriton(ROOT / 'docker/triton/model_repository', models=('amr',)) as server:
        yield f'desk={server.endpoint}'


def episode(scenario_file: Path, seed: int, domain: int, endpoint: str, camera: str = 'off',
            factor: float = 0.0) -> Shown:
    """One drive of the full stack. factor: simulated over real time at most; 0: no bound."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        env = os.environ | {'ROS_DOMAIN_ID': str(domain), 'ROS_LOG_DIR': str(folder / 'ros')}
        operator = Operator(domain, read_scenario(scenario_file))
        stack.callback(operator.close)
        groups = [stack.enter_context(Group(command, folder / f'{number}.log', env))
                  for number, command in enumerate(_commands(
                      scenario_file, seed, endpoint, folder, camera=camera,
                      lockstep_real_time_factor=factor))]
        try:
            operator.make('edge_case_recorder', CONFIGURE, ACTIVATE)
            operator.make('policy_client', CONFIGURE, ACTIVATE)
            shown = operator.drive()
        except AssertionError as error:
            raise AssertionError(f'{error}\n' + '\n'.join(group.tail(8) for group in groups)
                                 ) from None
        for group in reversed(groups):
            group.stop()
        shown.cases = len(list((folder / 'spool').glob('*/manifest.json')))
        return shown


def _commands(scenario_file: Path, seed: int, endpoint: str, folder: Path,
              **world: Any) -> list[list[str]]:
    sim = {'use_sim_time': 'true'}
    answers = ["'cmd_vel'", "'policy/cmd_vel geometry_msgs/msg/TwistStamped'"]
    return [
        _node('isaac_bridge.node', scenario_file=scenario_file,
              robot_file=CONFIG / 'robots/amr.yaml', seed=seed, mode='lockstep',
              answers=f'[{", ".join(answers)}]', answer_timeout_s=2.0, **world),
        _node('safety_reflex.node', robot_file=CONFIG / 'robots/amr.yaml',
              fields_file=CONFIG / 'robots/amr.fields.yaml', clock='sim', require_enable='false',
              realtime_priority=0, without_realtime='go', loop_gap_ms=1000.0, **sim),
        _node('policy_client.node', embodiment_file=CONFIG / 'embodiments/amr.yaml',
              endpoints=f'["{endpoint}"]', clock='sim', lockstep='true', lockstep_seed=seed,
              output_rate_hz=40.0,
              fallback_onnx=ROOT / 'docker/triton/model_repository/amr/1/model.onnx', **sim),
        _node('edge_case_recorder.node', spool_dir=folder / 'spool', robot_id='lockstep',
              min_free_bytes=0)]


def _node(module: str, **parameters: Any) -> list[str]:
    words = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
    return [sys.executable, '-c', f'from {module} import main; main()', '--ros-args', *words]
