"""The node of a simulated world: parameters to an engine, and the front end over it."""

import os
import signal
import sys
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from node_kit import ParameterError, declare

from . import messages
from .drive import Enable
from .engines import open_world
from .frontend.driver import Driver
from .frontend.intake import Intake
from .frontend.lockstep import Gate
from .frontend.machine import Machine, State
from .frontend.output import Output
from .frontend.runner import Runner
from .frontend.simulation_services import SimulationServices
from .parameters import Parameters
from .robot import RobotError
from .scenario import ScenarioError
from .world import Frame, WorldError

DIAGNOSTICS_S = 1.0
# What is still on its way when the simulation quits: the answer that says so.
FAREWELL_S = 0.2


class World(Node):
    """Opens an engine and wires it: what leaves, what comes, when it goes on, who may ask."""

    def __init__(self, **kwargs: Any) -> None:
        """Raises ParameterError, ScenarioError, RobotError or WorldError, one sentence each."""
        self._world: Any = None
        self._server: SimulationServices | None = None
        super().__init__('world', **kwargs)
        try:
            self._start()
        except BaseException:
            self.destroy_node()
            raise

    def _start(self) -> None:
        settings = self._settings = declare(_Declarer(self), Parameters)
        for name in ('scenario_file', 'robot_file'):
            if not getattr(settings, name):
                raise ParameterError(f'parameter {name} is empty: give the path of a YAML file')
        if settings.mode == 'lockstep' and settings.stamp != 'world':
            raise ParameterError("parameter stamp = 'system': answers in lock-step are known by "
                                 'the world\'s stamps')
        noise = settings.lidar_noise_m
        world = self._world = open_world(
            settings.scenario_file, settings.robot_file, settings.seed,
            engine=settings.engine, camera=settings.camera,
            lidar_noise_m=None if noise < 0.0 else noise,
            odometry_error=settings.odometry_error)
        self._machine = Machine(State[settings.initial_state.upper()])
        gate = Gate(settings.answers, round(settings.answer_timeout_s * 1e9))
        lockstep = settings.mode == 'lockstep'
        self._output = Output(
            self, world.robot, camera=world.has_camera, lockstep=lockstep,
            clock=settings.publish_clock and settings.stamp == 'world')
        enable = Enable(settings.enable_timeout_s) if settings.require_enable else None
        self._intake = Intake(self, world, enable, settings.answers if lockstep else (),
                              self._answered)
        self._runner = Runner(world, self._output, self._intake, settings.stamp, self._touched)
        self._driver = Driver(self, world, self._runner, self._machine, gate, settings)
        self._server = self._serve()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self._driver.tick_s, self._tick, clock=self._steady)
        self.create_timer(DIAGNOSTICS_S, self._diagnose, clock=self._steady)
        self.get_logger().info(
            f'{settings.scenario_file}, seed {settings.seed}, on {settings.engine}, '
            f'{settings.mode}; camera {"on" if world.has_camera else "off"}')

    def _serve(self) -> SimulationServices | None:
        settings = self._settings
        try:
            return SimulationServices(
                self, self._world, self._machine, self._driver, seed=settings.seed,
                engine=settings.engine, scenario_file=settings.scenario_file,
                quit_node=self._quit)
        except RCLError:
            if os.environ.get('ROS_SECURITY_ENABLE') != 'true':
                raise
            # A secured robot's base may not be reset or moved by anybody, and nor may its stand-in.
            self.get_logger().warning('simulation_interfaces is not offered: the enclave does not '
                                      'permit its services')
            return None

    def _answered(self, topic: str, stamp_ns: int) -> None:
        self._unless_ended(lambda: self._driver.answered(topic, stamp_ns))

    def _tick(self) -> None:
        self._unless_ended(self._driver.tick)

    def _unless_ended(self, act: Any) -> None:
        try:
            act()
        except RCLError:
            # A signal ends the context in another thread, even between two messages.
            if self.context.ok():
                raise

    def _quit(self) -> None:
        self.create_timer(FAREWELL_S, lambda: rclpy.try_shutdown(context=self.context),
                          clock=self._steady)

    def _touched(self, frame: Frame) -> None:
        self.get_logger().warning(
            f'contact with person {frame.contact} at t = {frame.t_ns * 1e-9:.3f} s, '
            f'robot at {frame.twist[0]:.2f} m/s')

    def _diagnose(self) -> None:
        driver, settings, state = self._driver, self._settings, self._machine.state
        factor = driver.real_time_factor()
        waiting = dict(driver.describe())
        level, sentence = DiagnosticStatus.OK, 'running'
        if state != State.PLAYING:
            sentence = state.name.lower()
        elif driver.lockstep and waiting['waiting_for']:
            sentence = f'waiting for {waiting["waiting_for"]}'
        elif not driver.lockstep and factor < 0.95 * settings.real_time_factor:
            level, sentence = DiagnosticStatus.WARN, 'slower than asked: the computer is late'
        if driver.newly_silent:
            level = DiagnosticStatus.WARN
            sentence = f'no answer from {", ".join(driver.newly_silent)}'
            driver.newly_silent = ()
        values = {'real_time_factor': f'{factor:.3f}',
                  'real_time_factor_wanted': f'{settings.real_time_factor:g}',
                  't_s': f'{self._world.t_ns * 1e-9:.3f}', 'contacts': str(self._runner.contacts),
                  'camera': str(self._world.has_camera).lower(), 'mode': settings.mode,
                  'state': state.name, 'steps': str(self._runner.steps)}
        if driver.lockstep:
            values |= {key: str(value) for key, value in waiting.items()}
        self._output.diagnostics(messages.time_of(self._world.t_ns), settings.engine, level,
                                 sentence, values)

    def destroy_node(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._world is not None:
            self._world.close()
        super().destroy_node()


class _Declarer:
    """Declares on a node; takes YAML's bare `camera: off`, which is a boolean, for the word."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def declare_parameter(self, name: str, default: Any, descriptor: Any) -> Parameter:
        declared = self._node.declare_parameter(name, default, descriptor)
        if name == 'camera' and isinstance(declared.value, bool):
            return Parameter(name, value='on' if declared.value else 'off')
        return declared


def main(args: list[str] | None = None) -> int:
    """Run the world until SIGINT or SIGTERM; 1 if it could not start."""
    # rclpy ends the context on a signal; a KeyboardInterrupt amid a callback would only be noise.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init(args=args)
    node = None
    executor = EventsExecutor()
    try:
        node = World()
        executor.add_node(node)
        executor.spin()
    except (ParameterError, ScenarioError, RobotError, WorldError) as problem:
        print(f'world: {problem}', file=sys.stderr)
        return 1
    except Exception:
        # A signal has ended the context: whatever was under way fails, and that is all right.
        if rclpy.ok():
            raise
    finally:
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
