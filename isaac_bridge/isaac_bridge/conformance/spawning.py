"""Checks: spawning, one and several, and deleting."""

import math
from typing import Any

from simulation_interfaces import srv
from simulation_interfaces.msg import EntityCategory, EntityState, Resource, Result, SpawnEntity

from .rig import OK, Features, Rig, Unsupported, check, expect, near, place, pose_at, told

CODES = srv.SpawnEntity.Response
MANY = srv.SpawnEntities.Response


def code(rig: Rig, wanted: int, name: str, **fields: object) -> None:
    """Refused with this code, and nothing is there that was not."""
    before = rig.entities()
    response = rig.spawn(name, **fields)
    expect(response.result.result == wanted,
           f'{name!r} {sorted(fields)}: {told(response.result)}, not {wanted}')
    expect(rig.entities() == before, f'{name!r} was refused, and is there')


@check
def spawned_is_there(rig: Rig) -> None:
    """Every spawnable: its name is returned, it is listed, and it is at its initial pose."""
    rig.need(Features.SPAWNING, Features.SPAWNABLES)
    rig.begin()
    for i, one in enumerate(rig.call(srv.GetSpawnables).spawnables):
        pose = pose_at(4.0 + 1.5 * i, 1.0, 0.4)
        response = rig.spawn(f'conformance_{i}', pose, uri=one.uri)
        expect(response.result.result == OK, f'{one.uri}: {told(response.result)}')
        expect(response.entity_name in rig.entities(), f'{response.entity_name} is not listed')
        there = place(rig.entity_state(response.entity_name).pose)
        expect(near(there, place(pose.pose), 1e-3), f'{one.uri} is at {there}')


@check
def names_are_unique(rig: Rig) -> None:
    """NAME_NOT_UNIQUE, or another name where renaming is allowed."""
    rig.begin()
    first = rig.spawned('conformance_twin')
    code(rig, CODES.NAME_NOT_UNIQUE, 'conformance_twin')
    response = rig.spawn('conformance_twin', allow_renaming=True)
    expect(response.result.result == OK, told(response.result))
    expect(response.entity_name not in ('', first), f'it is named {response.entity_name!r} too')
    expect(response.entity_name in rig.entities(), f'{response.entity_name} is not listed')


@check
def names_are_checked(rig: Rig) -> None:
    """NAME_INVALID for an empty name without renaming; with it, one is made."""
    rig.begin()
    code(rig, CODES.NAME_INVALID, '')
    response = rig.spawn('', allow_renaming=True)
    expect(response.result.result == OK, told(response.result))
    expect(response.entity_name in rig.entities(), 'it got no name that is listed')


@check
def resources_are_checked(rig: Rig) -> None:
    """NO_RESOURCE, and UNSUPPORTED_FORMAT or RESOURCE_PARSE_ERROR for what is none."""
    rig.begin()
    code(rig, CODES.NO_RESOURCE, 'conformance_box', uri='')
    before = rig.entities()
    result = rig.spawn('conformance_box', uri='thing.no_such_format').result
    expect(result.result in (CODES.UNSUPPORTED_FORMAT, CODES.RESOURCE_PARSE_ERROR,
                             CODES.MISSING_ASSETS), told(result))
    expect(rig.entities() == before, 'it was refused, and is there')


@check
def namespaces_are_checked(rig: Rig) -> None:
    """NAMESPACE_INVALID for what is no namespace."""
    rig.begin()
    code(rig, CODES.NAMESPACE_INVALID, 'conformance_box', entity_namespace='not a namespace!')


@check
def spawn_poses_are_checked(rig: Rig) -> None:
    """INVALID_POSE for a quaternion of zero, and for a position that is no number."""
    rig.begin()
    broken = pose_at(2.0, 0.0)
    broken.pose.orientation.w = 0.0
    code(rig, CODES.INVALID_POSE, 'conformance_box', pose=broken)
    broken = pose_at(math.nan, 0.0)
    code(rig, CODES.INVALID_POSE, 'conformance_box', pose=broken)


@check
def spawn_in_an_entitys_frame(rig: Rig) -> None:
    """initial_pose.header.frame_id may be an entity that was spawned earlier."""
    rig.begin()
    base = rig.spawned('conformance_base', pose_at(4.0, 1.0, math.pi / 2))
    response = rig.spawn('conformance_beside', pose_at(1.0, 0.0, frame=base))
    expect(response.result.result == OK, told(response.result))
    there = place(rig.entity_state(response.entity_name).pose)
    expect(near(there[:2], (4.0, 2.0), 1e-3), f'it is at {there[:2]}, not at (4, 2)')


@check
def spawn_several(rig: Rig) -> None:
    """SpawnEntities: one result each; ENTITIES_SPAWN_FAILED if one of them failed."""
    rig.need(Features.SPAWNING_ENTITIES)
    rig.begin()
    resource = Resource(uri=rig.resource())

    def wanted(name: str, x: float) -> SpawnEntity:
        return SpawnEntity(name=name, entity_resource=resource, initial_pose=pose_at(x, 1.0))

    def spawn(*requests: SpawnEntity) -> Any:
        return rig.call(srv.SpawnEntities, spawn_requests=list(requests))

    good = spawn(wanted('many_1', 3.0), wanted('many_2', 5.0))
    expect(good.result.result == OK, told(good.result))
    expect([one.result.result for one in good.results] == [OK, OK], 'not two results of OK')
    mixed = spawn(wanted('many_1', 3.0), wanted('many_3', 7.0))
    expect(mixed.result.result == MANY.ENTITIES_SPAWN_FAILED, told(mixed.result))
    codes = [one.result.result for one in mixed.results]
    expect(codes == [CODES.NAME_NOT_UNIQUE, OK], f'its results are {codes}')
    expect('many_3' in rig.entities(), 'the one that could be spawned is not there')


@check
def deleted_is_gone(rig: Rig) -> None:
    """DeleteEntity: not listed, not found, and its name is free again."""
    rig.need(Features.DELETING)
    rig.begin()
    name = rig.spawned('conformance_box')
    result = rig.call(srv.DeleteEntity, entity=name).result
    expect(result.result == OK, told(result))
    expect(name not in rig.entities(), f'{name} is still listed')
    expect(rig.call(srv.DeleteEntity, entity=name).result.result != OK, 'it was deleted twice')
    expect(rig.spawn(name).result.result == OK, 'its name is not free')


@check
def static_things_take_no_twist(rig: Rig) -> None:
    """A twist for what is static fails."""
    rig.need(Features.ENTITY_STATE_SETTING, Features.ENTITY_INFO_GETTING)
    rig.begin()
    name = rig.spawned('conformance_box')
    if rig.category(name) != EntityCategory.CATEGORY_STATIC_OBJECT:
        raise Unsupported(f'{name} is not said to be static')
    state = EntityState(pose=pose_at(3.0, 1.0).pose)
    state.twist.linear.x = 1.0
    result = rig.call(srv.SetEntityState, entity=name, state=state).result
    expect(result.result == Result.RESULT_OPERATION_FAILED, f'a twist: {told(result)}')
