"""Checks: entities, their states, infos, bounds, and the filters over them."""

import math

from geometry_msgs.msg import Vector3
from simulation_interfaces import srv
from simulation_interfaces.msg import (
    Bounds,
    EntityCategory,
    EntityInfo,
    EntityState,
    Result,
    TagsFilter,
)

from .rig import OK, Features, Rig, check, expect, near, place, pose_at, told

NOT_FOUND, UNSUPPORTED = Result.RESULT_NOT_FOUND, Result.RESULT_FEATURE_UNSUPPORTED
NOBODY = 'no_such_entity'


@check
def entities_have_unique_names(rig: Rig) -> None:
    """GetEntities: something is there, and no name twice."""
    rig.begin()
    names = rig.entities()
    expect(names, 'there is no entity')
    expect(len(set(names)) == len(names), f'a name is there twice: {names}')


@check
def filter_by_name(rig: Rig) -> None:
    """A POSIX extended expression; an empty result is no error."""
    rig.begin()
    names = rig.entities()
    first = names[0]
    expect(first in rig.entities(filter=f'^{first}$'), f'^{first}$ does not give {first}')
    expect(rig.entities(filter='^no_such_[[:digit:]]{3}$') == [], 'a filter that fits none')
    alternatives = rig.entities(filter=f'^({first}|no_such)$')
    expect(alternatives == [first], f'^({first}|no_such)$ gives {alternatives}')


@check
def filter_by_category(rig: Rig) -> None:
    """Those whose info has the category, and only those."""
    rig.need(Features.ENTITY_CATEGORIES, Features.ENTITY_INFO_GETTING)
    rig.begin()
    names = rig.entities()
    categories = {name: rig.category(name) for name in names}
    for category in set(categories.values()):
        wanted = sorted(name for name in names if categories[name] == category)
        got = sorted(rig.entities(categories=[EntityCategory(category=category)]))
        expect(got == wanted, f'category {category}: {got}, but by their infos {wanted}')


@check
def categories_mean_something(rig: Rig) -> None:
    """With ENTITY_CATEGORIES advertised, not everything is CATEGORY_OBJECT."""
    rig.need(Features.ENTITY_CATEGORIES, Features.ENTITY_INFO_GETTING)
    rig.begin()
    categories = {rig.category(name) for name in rig.entities()}
    expect(categories != {EntityCategory.CATEGORY_OBJECT}, 'every entity is a CATEGORY_OBJECT')


@check
def filter_by_tags(rig: Rig) -> None:
    """Any or all of the tags, as GetEntityInfo has them."""
    rig.need(Features.ENTITY_TAGS, Features.ENTITY_INFO_GETTING)
    rig.begin()
    names = rig.entities()
    tags = {name: set(rig.call(srv.GetEntityInfo, entity=name).info.tags) for name in names}
    known = sorted(set().union(*tags.values()))
    for mode in (TagsFilter.FILTER_MODE_ANY, TagsFilter.FILTER_MODE_ALL):
        wanted_tags = [*known[:1], 'no_such_tag']
        fits = any if mode == TagsFilter.FILTER_MODE_ANY else all
        wanted = [name for name in names if fits(tag in tags[name] for tag in wanted_tags)]
        got = rig.entities(tags=TagsFilter(tags=wanted_tags, filter_mode=mode))
        expect(sorted(got) == sorted(wanted), f'mode {mode}: {got}, but by their infos {wanted}')


@check
def filter_by_bounds(rig: Rig) -> None:
    """Spheres always; boxes and hulls as advertised, FEATURE_UNSUPPORTED otherwise."""
    rig.need(Features.ENTITY_STATE_GETTING)
    rig.begin()
    name = rig.entities()[0]
    at = rig.entity_state(name).pose.position
    middle, radius = Vector3(x=at.x, y=at.y, z=at.z), Vector3(x=0.2)
    near_it = Bounds(type=Bounds.TYPE_SPHERE, points=[middle, radius])
    expect(name in rig.entities(bounds=near_it), f'a sphere around {name} does not give it')
    away = Bounds(type=Bounds.TYPE_SPHERE, points=[Vector3(x=at.x + 500.0, y=at.y), radius])
    expect(name not in rig.entities(bounds=away), f'a sphere 500 m away gives {name}')
    corners = [Vector3(x=at.x + side, y=at.y + side, z=at.z + side) for side in (0.2, -0.2)]
    hull = [*corners, Vector3(x=at.x + 0.2, y=at.y - 0.2, z=at.z)]
    for kind, points, feature in (
            (Bounds.TYPE_BOX, corners, Features.ENTITY_BOUNDS_BOX),
            (Bounds.TYPE_CONVEX_HULL, hull, Features.ENTITY_BOUNDS_CONVEX)):
        request = srv.GetEntities.Request()
        request.filters.bounds = Bounds(type=kind, points=points)
        response = rig.call(srv.GetEntities, filters=request.filters)
        if feature in rig.features:
            expect(name in response.entities, f'bounds of type {kind} around {name} do not give it')
        else:
            expect(response.result.result == UNSUPPORTED,
                   f'bounds of type {kind}: {told(response.result)}')


@check
def unknown_entities_are_not_found(rig: Rig) -> None:
    """RESULT_NOT_FOUND, from everything that takes a name."""
    rig.begin()
    for kind, feature in ((srv.GetEntityState, Features.ENTITY_STATE_GETTING),
                          (srv.GetEntityInfo, Features.ENTITY_INFO_GETTING),
                          (srv.GetEntityBounds, Features.ENTITY_BOUNDS),
                          (srv.SetEntityState, Features.ENTITY_STATE_SETTING),
                          (srv.SetEntityInfo, Features.ENTITY_INFO_SETTING),
                          (srv.DeleteEntity, Features.DELETING)):
        if feature in rig.features:
            result = rig.call(kind, entity=NOBODY).result
            expect(result.result == NOT_FOUND, f'{kind.__name__}: {told(result)}')


@check
def states_agree(rig: Rig) -> None:
    """GetEntitiesStates says of each what GetEntityState says."""
    rig.need(Features.ENTITY_STATE_GETTING)
    rig.begin()
    response = rig.call(srv.GetEntitiesStates)
    expect(len(response.entities) == len(response.states), 'not one state for each name')
    for name, state in zip(response.entities, response.states, strict=True):
        expect(near(place(rig.entity_state(name).pose), place(state.pose)), f'{name} differs')


@check
def set_state_is_read_back(rig: Rig) -> None:
    """The pose is there at once, and no other entity moves."""
    rig.need(Features.ENTITY_STATE_GETTING, Features.ENTITY_STATE_SETTING)
    rig.begin()
    name, *others = rig.entities()
    before = {other: place(rig.entity_state(other).pose) for other in others}
    pose = pose_at(1.0, 0.5, 0.3).pose
    pose.position.z = rig.entity_state(name).pose.position.z
    result = rig.call(srv.SetEntityState, entity=name, state=EntityState(pose=pose)).result
    expect(result.result == OK, told(result))
    expect(near(place(rig.entity_state(name).pose), place(pose), 1e-4), f'{name} is elsewhere')
    for other, old in before.items():
        expect(place(rig.entity_state(other).pose) == old, f'{other} was moved')


@check
def invalid_poses_are_refused(rig: Rig) -> None:
    """INVALID_POSE for a quaternion that is none and for a position that is no number."""
    rig.need(Features.ENTITY_STATE_SETTING)
    rig.begin()
    name = rig.entities()[0]
    before = place(rig.entity_state(name).pose)
    for spoil in ('quaternion', 'position'):
        pose = pose_at(1.0, 0.0).pose
        if spoil == 'quaternion':
            pose.orientation.w = 0.0
        else:
            pose.position.x = math.nan
        result = rig.call(srv.SetEntityState, entity=name, state=EntityState(pose=pose)).result
        expect(result.result == srv.SetEntityState.Response.INVALID_POSE,
               f'a broken {spoil}: {told(result)}')
        expect(place(rig.entity_state(name).pose) == before, f'{name} was moved')


@check
def info_is_read_back(rig: Rig) -> None:
    """SetEntityInfo overrides what GetEntityInfo says."""
    rig.need(Features.ENTITY_INFO_GETTING, Features.ENTITY_INFO_SETTING)
    rig.begin()
    name = rig.entities()[0]
    info = EntityInfo(category=EntityCategory(category=EntityCategory.CATEGORY_DYNAMIC_OBJECT),
                      description='as told', tags=['a', 'b'])
    result = rig.call(srv.SetEntityInfo, entity=name, info=info).result
    expect(result.result == OK, told(result))
    expect(rig.call(srv.GetEntityInfo, entity=name).info == info, 'it says something else')


@check
def bounds_are_boxes(rig: Rig) -> None:
    """TYPE_BOX, the upper corner first."""
    rig.need(Features.ENTITY_BOUNDS)
    rig.begin()
    for name in rig.entities():
        response = rig.call(srv.GetEntityBounds, entity=name)
        expect(response.result.result == OK, f'{name}: {told(response.result)}')
        bounds = response.bounds
        expect(bounds.type == Bounds.TYPE_BOX and len(bounds.points) == 2,
               f'{name}: type {bounds.type} with {len(bounds.points)} points')
        upper, lower = bounds.points
        expect(upper.x > lower.x and upper.y > lower.y and upper.z > lower.z,
               f'{name}: the first corner is not the upper right')
