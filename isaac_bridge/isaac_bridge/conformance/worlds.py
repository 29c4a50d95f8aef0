"""Checks: worlds and named poses. These end with the world that was loaded at their beginning."""

from typing import Any

from simulation_interfaces import srv
from simulation_interfaces.msg import Bounds, Result, TagsFilter

from .rig import OK, PLAYING, STOPPED, Features, Rig, check, expect, told

LOAD = srv.LoadWorld.Response
NO_WORLD = 4


def current(rig: Rig) -> Any:
    response = rig.call(srv.GetCurrentWorld)
    expect(response.result.result == OK, told(response.result))
    return response.world


@check
def current_world_can_be_loaded_again(rig: Rig) -> None:
    """LoadWorld: what was spawned is gone, and it is STOPPED."""
    rig.need(Features.WORLD_INFO_GETTING, Features.WORLD_LOADING)
    rig.begin()
    world = current(rig)
    names = rig.entities()
    if Features.SPAWNING in rig.features:
        rig.spawned('conformance_box')
    rig.set_state(PLAYING)
    response = rig.call(srv.LoadWorld, uri=world.world_resource.uri)
    expect(response.result.result == OK, told(response.result))
    expect(rig.state() == STOPPED, f'a new world is {rig.state_name()}')
    expect(response.world == world, 'it says that it loaded another one')
    expect(rig.entities() == names, f'entities are {rig.entities()}, were {names}')


@check
def available_worlds(rig: Rig) -> None:
    """The current world is among them; tags filter."""
    rig.need(Features.AVAILABLE_WORLDS, Features.WORLD_INFO_GETTING)
    found = rig.call(srv.GetAvailableWorlds)
    expect(found.result.result == OK, told(found.result))
    uris = [world.world_resource.uri for world in found.worlds]
    expect(current(rig).world_resource.uri in uris, 'the current world is not among them')
    if Features.WORLD_TAGS in rig.features:
        none = rig.call(srv.GetAvailableWorlds, filter=TagsFilter(tags=['no_such_tag'])).worlds
        expect(not none, f'{len(none)} worlds have the tag no_such_tag')


@check
def what_is_no_world_is_refused(rig: Rig) -> None:
    """NO_RESOURCE changes nothing; UNSUPPORTED_FORMAT, RESOURCE_PARSE_ERROR for the rest."""
    rig.need(Features.WORLD_LOADING, Features.WORLD_INFO_GETTING)
    rig.begin()
    uri = current(rig).world_resource.uri
    try:
        result = rig.call(srv.LoadWorld).result
        expect(result.result == LOAD.NO_RESOURCE, f'nothing at all: {told(result)}')
        expect(current(rig).world_resource.uri == uri, 'the world is another one')
        result = rig.call(srv.LoadWorld, uri='world.no_such_format').result
        expect(result.result == LOAD.UNSUPPORTED_FORMAT, f'.no_such_format: {told(result)}')
        if Features.WORLD_RESOURCE_STRING in rig.features:
            result = rig.call(srv.LoadWorld, resource_string='[not a world').result
            expect(result.result == LOAD.RESOURCE_PARSE_ERROR, f'a broken string: {told(result)}')
    finally:
        rig.call(srv.LoadWorld, uri=uri)


@check
def without_a_world(rig: Rig) -> None:
    """UnloadWorld: NO_WORLD, which cannot be played; NO_WORLD_LOADED where it matters."""
    rig.need(Features.WORLD_UNLOADING, Features.WORLD_LOADING, Features.WORLD_INFO_GETTING)
    rig.begin()
    uri = current(rig).world_resource.uri
    try:
        result = rig.call(srv.UnloadWorld).result
        expect(result.result == OK, told(result))
        expect(rig.state() == NO_WORLD, f'without a world it is {rig.state_name()}')
        result = rig.call(srv.GetCurrentWorld).result
        expect(result.result == srv.GetCurrentWorld.Response.NO_WORLD_LOADED, told(result))
        result = rig.call(srv.UnloadWorld).result
        expect(result.result == srv.UnloadWorld.Response.NO_WORLD_LOADED, told(result))
        expect(rig.set_state(PLAYING).result != OK, 'it plays without a world')
        expect(rig.step(1).result != OK, 'it steps without a world')
    finally:
        rig.call(srv.LoadWorld, uri=uri)


@check
def named_poses(rig: Rig) -> None:
    """Unique names; tags filter; bounds of each; NOT_FOUND for others."""
    rig.need(Features.NAMED_POSES)
    rig.begin()
    poses = rig.call(srv.GetNamedPoses).poses
    names = [pose.name for pose in poses]
    expect(len(set(names)) == len(names), f'a name is there twice: {names}')
    tagged = rig.call(srv.GetNamedPoses, tags=TagsFilter(tags=['no_such_tag'])).poses
    expect(not tagged, f'{len(tagged)} poses have the tag no_such_tag')
    if Features.POSE_BOUNDS in rig.features:
        for name in names:
            response = rig.call(srv.GetNamedPoseBounds, name=name)
            expect(response.result.result == OK, f'{name}: {told(response.result)}')
            expect(response.bounds.type in (Bounds.TYPE_EMPTY, Bounds.TYPE_BOX,
                                            Bounds.TYPE_CONVEX_HULL, Bounds.TYPE_SPHERE),
                   f'{name}: bounds of type {response.bounds.type}')
        result = rig.call(srv.GetNamedPoseBounds, name='no_such_pose').result
        expect(result.result == Result.RESULT_NOT_FOUND, told(result))
