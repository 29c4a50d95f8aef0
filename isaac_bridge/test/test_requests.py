"""Whatever is asked of the front end, it answers with a code and a sentence, and stays whole."""

import math
import os

import pytest
import rclpy
from conftest import ROBOT_FILE, SCENARIOS
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Twist, Vector3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.parameter import Parameter
from simulation_interfaces import msg, srv
from std_msgs.msg import Header

from isaac_bridge.node import World

DOMAIN = int(os.environ.get('ROS_DOMAIN_ID') or 138)
names = st.sampled_from(['amr', 'picker', 'clerk', 'crate', '', 'a b', '/', 'x' * 300]) | st.text(
    max_size=20).filter(lambda text: ('\0' not in text and text.isprintable()) or '\n' in text)
numbers = st.floats(-20.0, 20.0) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e300])
bytes_ = st.integers(0, 255)
vectors = st.builds(lambda x, y, z: Vector3(x=x, y=y, z=z), numbers, numbers, numbers)
points = st.builds(lambda x, y, z: Point(x=x, y=y, z=z), numbers, numbers, numbers | st.just(0.0))
turns = st.just(Quaternion(w=1.0)) | st.builds(
    lambda x, y, z, w: Quaternion(x=x, y=y, z=z, w=w), numbers, numbers, numbers, numbers)
poses = st.builds(lambda p, q: Pose(position=p, orientation=q), points, turns)
frames = st.sampled_from(['', 'world', 'odom', 'amr', 'nowhere'])
tags = st.builds(lambda found, mode: msg.TagsFilter(tags=found, filter_mode=mode),
                 st.lists(names, max_size=3), bytes_)
bounds = st.builds(lambda kind, found: msg.Bounds(type=kind, points=found),
                   st.integers(0, 4), st.lists(vectors, max_size=4))
patterns = names | st.text('ab(){}[]*+?|.^$\\0123', max_size=12)
filters = st.builds(
    lambda text, kinds, tag, box: msg.EntityFilters(
        filter=text, categories=[msg.EntityCategory(category=one) for one in kinds], tags=tag,
        bounds=box), patterns, st.lists(bytes_, max_size=2), tags, bounds)
states = st.builds(
    lambda frame, pose, linear, angular: msg.EntityState(
        header=Header(frame_id=frame), pose=pose, twist=Twist(linear=linear, angular=angular)),
    frames, poses, st.just(Vector3()) | vectors, st.just(Vector3()) | vectors)
starts = st.builds(lambda frame, pose: PoseStamped(header=Header(frame_id=frame), pose=pose),
                   frames, poses)
uris = st.sampled_from(['box', 'person', 'cylinder', 'rocket', '', 'primitive:box?size_m=1,1,1',
                        'primitive:box?size_m=1,nan,1', 'file:///x.usd', 'http://[',
                        'a\nb']) | names
texts = st.sampled_from(['', '{"kind": "box"}', '{"kind": []}', '{', '[1]', '<sdf/>']) | names
infos = st.builds(
    lambda kind, text, found: msg.EntityInfo(
        category=msg.EntityCategory(category=kind), description=text, tags=found),
    bytes_, names, st.lists(names, max_size=40))
REQUESTS = {
    'get_entities': (srv.GetEntities, {'filters': filters}),
    'get_entities_states': (srv.GetEntitiesStates, {'filters': filters}),
    'get_entity_info': (srv.GetEntityInfo, {'entity': names}),
    'set_entity_info': (srv.SetEntityInfo, {'entity': names, 'info': infos}),
    'get_entity_state': (srv.GetEntityState, {'entity': names}),
    'set_entity_state': (srv.SetEntityState, {'entity': names, 'state': states}),
    'get_entity_bounds': (srv.GetEntityBounds, {'entity': names}),
    'spawn_entity': (srv.SpawnEntity, {
        'name': names, 'allow_renaming': st.booleans(), 'uri': uris, 'resource_string': texts,
        'entity_namespace': names, 'initial_pose': starts}),
    'delete_entity': (srv.DeleteEntity, {'entity': names}),
    'get_spawnables': (srv.GetSpawnables, {'sources': st.lists(names, max_size=3)}),
    'get_named_poses': (srv.GetNamedPoses, {'tags': tags}),
    'get_named_pose_bounds': (srv.GetNamedPoseBounds, {'name': names}),
    'set_simulation_state': (srv.SetSimulationState, {'state': st.builds(
        lambda state: msg.SimulationState(state=state), bytes_.filter(lambda one: one != 3))}),
    'reset_simulation': (srv.ResetSimulation, {'scope': bytes_}),
    'get_available_worlds': (srv.GetAvailableWorlds, {
        'additional_sources': st.lists(uris, max_size=3), 'filter': tags,
        'continue_on_error': st.booleans()}),
    'get_current_world': (srv.GetCurrentWorld, {}),
}
# These ask, or answer with what was found.
READS = {name for name in REQUESTS if name.startswith('get_')}


@pytest.fixture(scope='module')
def node():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    made = World(context=context, parameter_overrides=[
        Parameter('scenario_file', value=str(SCENARIOS / 'aisle.yaml')),
        Parameter('robot_file', value=str(ROBOT_FILE)), Parameter('camera', value='off'),
        Parameter('initial_state', value='paused')])
    yield made
    made.destroy_node()
    rclpy.try_shutdown(context=context)


@settings(max_examples=400, deadline=None, suppress_health_check=[
    HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_request_has_an_answer(node, data):
    handlers = {service.srv_name.rpartition('/')[2]: service.callback for service in node.services}
    name = data.draw(st.sampled_from(sorted(REQUESTS)))
    kind, fields = REQUESTS[name]
    request = kind.Request(**{key: data.draw(value, key) for key, value in fields.items()})
    before, machine = node._world.digest(), node._machine.state
    response = handlers[name](request, kind.Response())
    code, sentence = response.result.result, response.result.error_message
    assert code in (1, 2, 3, 4, *range(101, 110), 150) or (code == 0 and sentence)
    assert code == 1 or sentence, 'a refusal says why'
    assert len(sentence) < 2000
    assert '\n' not in sentence
    if code != 1 or name in READS:
        assert node._world.digest() == before, 'what was refused changed something'
        assert node._machine.state == machine
    assert math.isfinite(sum(node._world.frame().robot))
    for entity in node._world.entities():
        assert all(map(math.isfinite, node._world.state(entity.name).pose.position))
