"""simulation_interfaces 1.5: states, steps, resets, worlds. Handlers between a world and ROS."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from simulation_interfaces import srv
from simulation_interfaces.action import SimulateSteps
from simulation_interfaces.msg import SimulatorFeatures as Features
from std_srvs.srv import Trigger

from ..entities import Scope
from ..world import World, WorldError
from . import conversions, library
from .driver import MOST_STEPS, Driver
from .entity_services import EntityServices
from .library import MAX_SOURCES, ParseError, UnsupportedFormat, WorldFile
from .machine import Answer, Code, Machine, State

_LOAD = srv.LoadWorld.Response
_WORLDS = srv.GetAvailableWorlds.Response
NO_WORLD_LOADED = srv.UnloadWorld.Response.NO_WORLD_LOADED
FEEDBACK_DEPTH = 1000       # one a step; a client that keeps up loses none


class SimulationServices:
    """Serves all of it, with the entities' services, relative to the node's namespace."""

    def __init__(self, node: Node, world: World, machine: Machine, driver: Driver, *, seed: int,
                 engine: str, scenario_file: str, quit_node: Callable[[], None]) -> None:
        self._world, self._machine, self._driver = world, machine, driver
        self._seed, self._engine, self._quit = seed, engine, quit_node
        self._robot = world.robot
        self._folder = Path(scenario_file).resolve().parent
        self._file: WorldFile = library.describe(world.scenario,
                                                 Path(scenario_file).resolve().as_uri())
        self._entities = EntityServices(node, world, machine)
        # A handler that waits for answers must not hold up the callback that hears them.
        group = ReentrantCallbackGroup()
        for kind, name, handler in (
                (srv.GetSimulatorFeatures, 'get_simulator_features', self._features),
                (srv.GetSimulationState, 'get_simulation_state', self._get_state),
                (srv.SetSimulationState, 'set_simulation_state', self._set_state),
                (srv.StepSimulation, 'step_simulation', self._step),
                (srv.ResetSimulation, 'reset_simulation', self._reset),
                (srv.LoadWorld, 'load_world', self._load),
                (srv.UnloadWorld, 'unload_world', self._unload),
                (srv.GetCurrentWorld, 'get_current_world', self._current),
                (srv.GetAvailableWorlds, 'get_available_worlds', self._available),
                (Trigger, 'world/digest', self._digest)):
            node.create_service(kind, name, handler, callback_group=group)
        self._action = ActionServer(
            node, SimulateSteps, 'simulate_steps', execute_callback=self._simulate,
            cancel_callback=lambda _: CancelResponse.ACCEPT, callback_group=group,
            feedback_pub_qos_profile=QoSProfile(depth=FEEDBACK_DEPTH))

    def close(self) -> None:
        self._action.destroy()

    def _features(self, _: Any, response: Any) -> Any:
        response.features.features = sorted((*self._entities.features(), *(
            Features.SIMULATION_RESET, Features.SIMULATION_RESET_TIME,
            Features.SIMULATION_RESET_STATE, Features.SIMULATION_RESET_SPAWNED,
            Features.SIMULATION_STATE_GETTING, Features.SIMULATION_STATE_SETTING,
            Features.SIMULATION_STATE_PAUSE, Features.STEP_SIMULATION_SINGLE,
            Features.STEP_SIMULATION_MULTIPLE, Features.STEP_SIMULATION_ACTION,
            Features.WORLD_LOADING, Features.WORLD_RESOURCE_STRING, Features.WORLD_TAGS,
            Features.WORLD_UNLOADING, Features.WORLD_INFO_GETTING, Features.AVAILABLE_WORLDS)))
        response.features.spawn_formats = self._entities.formats()
        mode = 'lockstep' if self._driver.lockstep else 'free'
        response.features.custom_info = (
            f'isaac_bridge, engine {self._engine}, mode {mode}; one step is one physics step of '
            f'{self._world.step_ns} ns, at most {MOST_STEPS} a request; bounds filters: sphere, '
            'box')
        return response

    def _get_state(self, _: Any, response: Any) -> Any:
        response.state.state = self._machine.state
        conversions.say(response.result, Answer())
        return response

    def _set_state(self, request: Any, response: Any) -> Any:
        change = self._machine.set(request.state.state)
        if change.reset:
            self._reset_world(Scope.ALL)
        if change.ok and self._machine.state == State.PLAYING:
            self._driver.played()
        if change.ok and self._machine.state == State.QUITTING:
            self._quit()
        conversions.say(response.result, change)
        return response

    def _reset(self, request: Any, response: Any) -> Any:
        scope = Scope(request.scope) if request.scope else Scope.ALL
        known = Scope.TIME | Scope.STATE | Scope.SPAWNED
        answer = self._machine.may_change()
        if answer.ok and scope != Scope.ALL and scope & ~known:
            answer = Answer(Code.FEATURE_UNSUPPORTED, f'scope {request.scope} has other flags than '
                            'TIME (1), STATE (2), SPAWNED (4), or ALL (255)')
        if answer.ok:
            self._reset_world(scope)
        conversions.say(response.result, answer)
        return response

    def _reset_world(self, scope: Scope) -> None:
        self._world.reset(self._seed, scope)
        self._entities.forget(everything=scope == Scope.ALL)
        self._driver.began()

    async def _step(self, request: Any, response: Any) -> Any:
        answer, _ = await self._driver.steps(request.steps)
        conversions.say(response.result, answer)
        return response

    async def _simulate(self, goal: Any) -> Any:
        count = goal.request.steps
        feedback, result = SimulateSteps.Feedback(), SimulateSteps.Result()

        def told(done: int) -> None:
            feedback.completed_steps, feedback.remaining_steps = done, count - done
            goal.publish_feedback(feedback)

        answer, done = await self._driver.steps(count, told, lambda: goal.is_cancel_requested)
        conversions.say(result.result, answer)
        if not answer.ok:
            goal.abort()
        elif done < count:
            goal.canceled()
        else:
            goal.succeed()
        return result

    async def _load(self, request: Any, response: Any) -> Any:
        answer = self._machine.may_load()
        if answer.ok and not (request.uri or request.resource_string):
            answer = Answer(_LOAD.NO_RESOURCE, 'both uri and resource_string are empty')
        if answer.ok:
            self._unload_now()
            self._machine.state = State.LOADING_WORLD
            # Whoever asks meanwhile is told that it is loading.
            await self._driver.others()
            answer = self._load_now(request.uri, request.resource_string)
        if answer.ok:
            response.world = conversions.world_message(self._file)
        conversions.say(response.result, answer)
        return response

    def _load_now(self, uri: str, text: str) -> Answer:
        self._machine.state = State.NO_WORLD
        try:
            scenario, file = library.load_uri(uri) if uri else library.load_string(text)
            self._world.load(scenario, self._robot, self._seed)
        except UnsupportedFormat as problem:
            return Answer(_LOAD.UNSUPPORTED_FORMAT, str(problem))
        except FileNotFoundError as problem:
            return Answer(Code.NOT_FOUND, str(problem))
        except ParseError as problem:
            return Answer(_LOAD.RESOURCE_PARSE_ERROR, str(problem))
        except WorldError as problem:
            self._world.close()
            return Answer(Code.OPERATION_FAILED, str(problem))
        self._file = file
        self._machine.state = State.STOPPED
        self._driver.began()
        return Answer()

    def _unload(self, _: Any, response: Any) -> Any:
        answer = self._machine.may_load()
        if answer.ok and not self._machine.loaded:
            answer = Answer(NO_WORLD_LOADED, 'no world is loaded')
        if answer.ok:
            self._unload_now()
        conversions.say(response.result, answer)
        return response

    def _unload_now(self) -> None:
        if self._machine.loaded:
            self._world.close()
            self._entities.forget(everything=True)
        self._machine.state = State.NO_WORLD

    def _current(self, _: Any, response: Any) -> Any:
        if self._machine.loaded:
            response.world = conversions.world_message(self._file)
            conversions.say(response.result, Answer())
        else:
            conversions.say(response.result, Answer(NO_WORLD_LOADED, 'no world is loaded'))
        return response

    def _available(self, request: Any, response: Any) -> Any:
        if len(request.additional_sources) > MAX_SOURCES:
            conversions.say(response.result, Answer(
                Code.OPERATION_FAILED, f'more than {MAX_SOURCES} additional_sources'))
            return response
        found: dict[str, WorldFile] = {}
        failed: list[str] = []
        code = int(Code.OPERATION_FAILED)
        for source in ('', *request.additional_sources):
            try:
                folder = library.local_path(source) if source else self._folder
                found |= {file.uri: file for file in library.worlds_in(folder)}
            except (OSError, UnsupportedFormat) as problem:
                why = problem.strerror if isinstance(problem, OSError) else str(problem)
                failed.append(f'{source or self._folder}: {why}'[:300])
                if not source:
                    code = _WORLDS.DEFAULT_SOURCES_FAILED
        answer = Answer(sentence='; '.join(failed))
        if failed and not (request.continue_on_error and found):
            answer = Answer(code, '; '.join(failed))
        else:
            response.worlds = [conversions.world_message(file) for file in found.values()
                               if self._entities.tagged(file.tags, request.filter)]
        conversions.say(response.result, answer)
        return response

    def _digest(self, _: Any, response: Any) -> Any:
        """sha256 over the whole dynamic state of the world."""
        answer = self._machine.may_look()
        response.success = answer.ok
        response.message = self._world.digest() if answer.ok else answer.sentence
        return response
