"""simulation_interfaces 1.5: entities, spawning, named poses. Handlers between a world and ROS."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from simulation_interfaces import srv
from simulation_interfaces.msg import (
    Bounds,
    EntityInfo,
    NamedPose,
    Spawnable,
    SpawnResult,
    TagsFilter,
)
from simulation_interfaces.msg import SimulatorFeatures as Features

from .. import messages
from ..entities import Category, Entity, EntityError, Fault, Pose, State, check_name
from ..world import World
from . import conversions, geometry, library
from .library import FORMAT, ParseError, UnsupportedFormat
from .machine import Answer, Code, Machine
from .pattern import Pattern, PatternError

MAX_TAGS, MAX_TAG, MAX_DESCRIPTION = 32, 64, 1000
MAX_REQUESTS = 100
INVALID_POSE = srv.SetEntityState.Response.INVALID_POSE
_SPAWN_CODES = {
    Fault.NAME_TAKEN: SpawnResult.NAME_NOT_UNIQUE, Fault.NAME_INVALID: SpawnResult.NAME_INVALID,
    Fault.POSE_INVALID: SpawnResult.INVALID_POSE, Fault.RESOURCE: SpawnResult.RESOURCE_PARSE_ERROR}
_TAGS = {Category.ROBOT: 'robot', Category.HUMAN: 'person', Category.STATIC_OBJECT: 'prop'}
_DESCRIPTIONS = {
    Category.ROBOT: 'the robot that this simulation is about',
    Category.HUMAN: 'a person, 0.20 m in radius, who gives way to nobody',
    Category.STATIC_OBJECT: 'a solid thing that stays where it is put'}


class _Refused(Exception):
    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = Answer(code, sentence)


@dataclasses.dataclass(frozen=True)
class _Info:
    category: int
    description: str
    tags: tuple[str, ...]


class EntityServices:
    """What was set by SetEntityInfo is kept here: no engine needs it."""

    def __init__(self, node: Node, world: World, machine: Machine) -> None:
        self._world, self._machine = world, machine
        self._infos: dict[str, _Info] = {}
        for kind, name, handler in (
                (srv.GetEntities, 'get_entities', self._get_entities),
                (srv.GetEntitiesStates, 'get_entities_states', self._get_entities_states),
                (srv.GetEntityInfo, 'get_entity_info', self._get_info),
                (srv.SetEntityInfo, 'set_entity_info', self._set_info),
                (srv.GetEntityState, 'get_entity_state', self._get_state),
                (srv.SetEntityState, 'set_entity_state', self._set_state),
                (srv.GetEntityBounds, 'get_entity_bounds', self._get_bounds),
                (srv.SpawnEntity, 'spawn_entity', self._spawn_one),
                (srv.SpawnEntities, 'spawn_entities', self._spawn_many),
                (srv.DeleteEntity, 'delete_entity', self._delete),
                (srv.GetSpawnables, 'get_spawnables', self._spawnables),
                (srv.GetNamedPoses, 'get_named_poses', self._named_poses),
                (srv.GetNamedPoseBounds, 'get_named_pose_bounds', self._named_pose_bounds)):
            node.create_service(kind, name, self._guarded(handler))

    def _guarded(self, handler: Any) -> Any:
        """A refusal of any kind becomes the response's code and sentence."""
        def serve(request: Any, response: Any) -> Any:
            try:
                self._demand(self._machine.may_look())
                handler(request, response)
                if response.result.result == Code.FEATURE_UNSUPPORTED:
                    conversions.say(response.result, Answer())
            except _Refused as refused:
                conversions.say(response.result, refused.answer)
            except EntityError as error:
                code = Code.NOT_FOUND if error.fault is Fault.NOT_FOUND else (
                    INVALID_POSE if error.fault is Fault.POSE_INVALID else Code.OPERATION_FAILED)
                conversions.say(response.result, Answer(code, str(error)))
            return response
        return serve

    def _demand(self, answer: Answer) -> None:
        if not answer.ok:
            raise _Refused(answer.code, answer.sentence)

    def features(self) -> Sequence[int]:
        spawning = (Features.SPAWNING, Features.SPAWNING_RESOURCE_STRING, Features.SPAWNABLES,
                    Features.SPAWNING_ENTITIES) if self._world.spawnables() else ()
        return (*spawning, Features.DELETING, Features.NAMED_POSES, Features.POSE_BOUNDS,
                Features.ENTITY_TAGS, Features.ENTITY_BOUNDS, Features.ENTITY_BOUNDS_BOX,
                Features.ENTITY_CATEGORIES, Features.ENTITY_STATE_GETTING,
                Features.ENTITY_STATE_SETTING, Features.ENTITY_INFO_GETTING,
                Features.ENTITY_INFO_SETTING)

    def formats(self) -> list[str]:
        return [FORMAT] if self._world.spawnables() else []

    def forget(self, *, everything: bool) -> None:
        """What was said about entities that are gone, or about all of them."""
        there = set() if everything else {entity.name for entity in self._world.entities()}
        self._infos = {name: info for name, info in self._infos.items() if name in there}

    # -- asking

    def _get_entities(self, request: Any, response: Any) -> None:
        response.entities = [entity.name for entity in self._chosen(request.filters)]

    def _get_entities_states(self, request: Any, response: Any) -> None:
        response.entities = [entity.name for entity in self._chosen(request.filters)]
        stamp = messages.time_of(self._world.t_ns)
        response.states = [conversions.state_message(self._world.state(name), stamp)
                           for name in response.entities]

    def _chosen(self, filters: Any) -> list[Entity]:
        try:
            pattern = Pattern(filters.filter)
        except PatternError as problem:
            raise _Refused(Code.OPERATION_FAILED, str(problem)) from problem
        categories = {category.category for category in filters.categories}
        found = []
        for entity in self._world.entities():
            info = self._info(entity)
            if (pattern.search(entity.name) and (not categories or info.category in categories)
                    and self.tagged(info.tags, filters.tags)
                    and self._within(entity.name, filters.bounds)):
                found.append(entity)
        return found

    @staticmethod
    def tagged(tags: Sequence[str], wanted: TagsFilter) -> bool:
        if not wanted.tags:
            return True
        every = wanted.filter_mode == TagsFilter.FILTER_MODE_ALL
        return (all if every else any)(tag in tags for tag in wanted.tags)

    def _within(self, name: str, bounds: Bounds) -> bool:
        if bounds.type == Bounds.TYPE_EMPTY:
            return True
        if bounds.type not in (Bounds.TYPE_BOX, Bounds.TYPE_SPHERE):
            raise _Refused(Code.FEATURE_UNSUPPORTED,
                           f'bounds of type {bounds.type} are no filter here: box, sphere')
        if len(bounds.points) != 2:
            raise _Refused(Code.OPERATION_FAILED,
                           f'bounds of {len(bounds.points)} points: a box or a sphere has 2')
        first, second = map(conversions.vector, bounds.points)
        if not all(map(math.isfinite, (*first, *second))):
            raise _Refused(Code.OPERATION_FAILED, 'the bounds are not finite')
        pose, own = self._world.state(name).pose, self._world.bounds(name)
        if bounds.type == Bounds.TYPE_SPHERE:
            return geometry.touches_sphere(pose, own, first, second[0])
        return geometry.touches_box(pose, own, second, first)

    def _entity(self, name: str) -> Entity:
        for entity in self._world.entities():
            if entity.name == name:
                return entity
        raise EntityError(Fault.NOT_FOUND, f'there is no entity named {name[:200]!r}')

    def _info(self, entity: Entity) -> _Info:
        tags = (_TAGS.get(entity.category, 'object'), *(('spawned',) if entity.spawned else ()))
        return self._infos.get(entity.name, _Info(
            int(entity.category), _DESCRIPTIONS.get(entity.category, ''), tags))

    def _get_info(self, request: Any, response: Any) -> None:
        info = self._info(self._entity(request.entity))
        response.info.category.category = info.category
        response.info.description, response.info.tags = info.description, list(info.tags)

    def _set_info(self, request: Any, response: Any) -> None:
        entity, info = self._entity(request.entity), request.info
        self._check_info(info)
        self._infos[entity.name] = _Info(info.category.category, info.description,
                                         tuple(info.tags))

    @staticmethod
    def _check_info(info: EntityInfo) -> None:
        if info.category.category not in {category.value for category in Category}:
            raise _Refused(Code.OPERATION_FAILED,
                           f'there is no entity category {info.category.category}')
        if (len(info.description) > MAX_DESCRIPTION or len(info.tags) > MAX_TAGS
                or any(len(tag) > MAX_TAG for tag in info.tags)):
            raise _Refused(Code.OPERATION_FAILED, f'the description is longer than '
                           f'{MAX_DESCRIPTION} characters, there are more than {MAX_TAGS} tags, '
                           f'or one is longer than {MAX_TAG}')

    def _get_state(self, request: Any, response: Any) -> None:
        response.state = conversions.state_message(
            self._world.state(request.entity), messages.time_of(self._world.t_ns))

    def _get_bounds(self, request: Any, response: Any) -> None:
        response.bounds = conversions.bounds_message(self._world.bounds(request.entity))

    # -- changing

    def _set_state(self, request: Any, response: Any) -> None:
        self._demand(self._machine.may_change())
        entity = self._entity(request.entity)
        acceleration = request.state.acceleration
        moved = any((*conversions.vector(acceleration.linear),
                     *conversions.vector(acceleration.angular)))
        if moved and entity.category is Category.STATIC_OBJECT:
            raise _Refused(Code.OPERATION_FAILED, f'{entity.name} is static: it takes no '
                           'acceleration')
        self._world.set_state(entity.name, self._placed(
            conversions.state(request.state), request.state.header.frame_id))

    def _placed(self, state: State, frame: str) -> State:
        """From the frame it is given in to the world's."""
        numbers = (*state.pose.position, *state.pose.quaternion, *state.linear, *state.angular)
        if frame in ('', 'world', 'odom') or not all(map(math.isfinite, numbers)):
            return state    # what is not finite is refused in any frame
        if frame not in {entity.name for entity in self._world.entities()}:
            raise EntityError(Fault.POSE_INVALID, f'the frame {frame[:200]!r} is not world, odom '
                              "or an entity's name")
        return geometry.in_world(state, self._world.state(frame).pose)

    def _delete(self, request: Any, response: Any) -> None:
        self._demand(self._machine.may_change())
        self._world.delete(request.entity)
        self._infos.pop(request.entity, None)

    def _spawn_one(self, request: Any, response: Any) -> None:
        response.entity_name = self._spawn(request, request.uri, request.resource_string)

    def _spawn_many(self, request: Any, response: Any) -> None:
        self._demand(self._machine.may_change())
        if len(request.spawn_requests) > MAX_REQUESTS:
            raise _Refused(Code.OPERATION_FAILED, f'more than {MAX_REQUESTS} spawn requests')
        failed = 0
        for wanted in request.spawn_requests:
            result = SpawnResult()
            try:
                resource = wanted.entity_resource
                result.entity_name = self._spawn(wanted, resource.uri, resource.resource_string)
                conversions.say(result.result, Answer())
            except _Refused as refused:
                failed += 1
                conversions.say(result.result, refused.answer)
            response.results.append(result)
        if failed:
            conversions.say(response.result, Answer(
                srv.SpawnEntities.Response.ENTITIES_SPAWN_FAILED,
                f'{failed} of {len(request.spawn_requests)} could not be spawned'))

    def _spawn(self, wanted: Any, uri: str, text: str) -> str:
        """The name that it got. wanted: SpawnEntity, the service's request or the message."""
        self._demand(self._machine.may_change())
        known = self._world.spawnables()
        if not known:
            raise _Refused(Code.FEATURE_UNSUPPORTED, 'this engine spawns nothing')
        if not (uri or text):
            raise _Refused(SpawnResult.NO_RESOURCE, 'both uri and resource_string are empty')
        try:
            resource, own_name = library.resource_of(uri, text, known)
        except UnsupportedFormat as problem:
            raise _Refused(SpawnResult.UNSUPPORTED_FORMAT, str(problem)) from problem
        except ParseError as problem:
            raise _Refused(SpawnResult.RESOURCE_PARSE_ERROR, str(problem)) from problem
        try:
            namespace = library.check_namespace(wanted.entity_namespace)
        except ValueError as problem:
            raise _Refused(SpawnResult.NAMESPACE_INVALID, str(problem)) from problem
        try:
            name = self._name(wanted.name or own_name, namespace, resource.kind,
                              wanted.allow_renaming)
            start = wanted.initial_pose
            pose: Pose = self._placed(State(conversions.pose(start.pose)),
                                      start.header.frame_id).pose
            self._world.spawn(name, resource, pose)
        except EntityError as error:
            raise _Refused(_SPAWN_CODES.get(error.fault, Code.OPERATION_FAILED),
                           str(error)) from error
        return name

    def _name(self, name: str, namespace: str, kind: str, renaming: bool) -> str:
        """Raises EntityError."""
        if not name and not renaming:
            raise EntityError(Fault.NAME_INVALID, 'the name is empty, and allow_renaming is false')
        wanted = name or kind
        if namespace:
            wanted = f'{namespace}/{wanted}'
        check_name(wanted)
        taken = {entity.name for entity in self._world.entities()}
        if wanted not in taken and name:
            return wanted
        if not renaming:
            raise EntityError(Fault.NAME_TAKEN, f'there is an entity named {wanted} already')
        return next(numbered for number in range(1, len(taken) + 2)
                    if (numbered := f'{wanted}_{number}') not in taken)

    # -- what there is

    def _spawnables(self, request: Any, response: Any) -> None:
        if not self._world.spawnables():
            raise _Refused(Code.FEATURE_UNSUPPORTED, 'this engine spawns nothing')
        for resource in self._world.spawnables():
            response.spawnables.append(Spawnable(
                uri=library.uri_of(resource), description=f'a {resource.kind}, solid to the robot '
                'and seen by its sensors' if resource.kind != 'person' else 'a person who stands',
                spawn_bounds=conversions.bounds_message(resource.bounds)))
        unknown = ', '.join(source[:100] for source in request.sources[:10])
        conversions.say(response.result, Answer(
            Code.OK, f'unrecognized sources: {unknown}' if unknown else ''))

    def _named_poses(self, request: Any, response: Any) -> None:
        response.poses = [
            NamedPose(name=place.name, description=place.description, tags=list(place.tags),
                      pose=conversions.pose_message(place.pose))
            for place in self._places() if self.tagged(place.tags, request.tags)]

    def _named_pose_bounds(self, request: Any, response: Any) -> None:
        for place in self._places():
            if place.name == request.name:
                response.bounds = conversions.bounds_message(place.bounds)
                return
        raise _Refused(Code.NOT_FOUND, f'there is no pose named {request.name[:200]!r}')

    def _places(self) -> Sequence[library.Place]:
        return library.places(self._world.scenario, self._world.robot)
