import contextlib
import copy
import datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from policy_scene import AMR, CONFIG, VOCABULARY, changed

from policy_client import embodiment_file
from policy_client.embodiment import Command
from policy_client.embodiment_file import EmbodimentError, parse
from policy_client.sections import Section


def test_the_amr_is_described_as_the_contract_says():
    assert AMR.name == 'amr'
    assert AMR.action_period_ns == 100_000_000
    assert [key.name for key in AMR.video] == ['video.front']
    assert [key.name for key in AMR.state] == ['state.velocity', 'state.goal']
    assert AMR.language.name == 'annotation.human.task_description'
    assert [key.name for key in AMR.actions] == ['action.base_velocity']
    assert AMR.positional == (False, False)
    assert AMR.commands == (Command('policy/cmd_vel', 'twist', 'base_link', '', (0, 1)),)
    assert AMR.goal.name == 'state.goal'
    assert AMR.goal.clip_radius_m == 10.0
    assert AMR.topics == {
        'camera/front/image_raw': ('sensor_msgs/msg/Image', False),
        'odom': ('nav_msgs/msg/Odometry', False),
        'goal_pose': ('geometry_msgs/msg/PoseStamped', True),
        'task': ('std_msgs/msg/String', True)}


def test_its_limits_are_those_of_the_robot(root):
    robot = yaml.safe_load((root / 'config/robots/amr.yaml').read_text())['limits']
    v, w = AMR.columns
    assert (v.minimum, v.maximum) == (-robot['max_reverse_mps'], robot['max_speed_mps'])
    assert (w.minimum, w.maximum) == (-robot['max_turn_radps'], robot['max_turn_radps'])
    assert v.max_rate == robot['max_acceleration_mps2']
    assert w.max_rate == robot['max_turn_acceleration_radps2']


@pytest.mark.parametrize(('change', 'message'), [
    ({'schema_version': 2}, 'schema_version must be 1'),
    ({'embodiment': None}, 'embodiment is missing'),
    ({'action_period_ms': 0}, 'action_period_ms = 0: must be 1 to 60000 ms'),
    ({'action_period_ms': float('nan')}, 'action_period_ms = nan: must be finite'),
    ({'action_period_ms': True}, 'action_period_ms = True: must be a number'),
    ({'colour': 'red'}, "colour: is not a key that is known here"),
    ({'video__front__max_age': 3}, 'video.front.max_age: is not a key that is known here'),
    ({'video__front__optional': 'maybe'}, "video.front.optional = 'maybe': must be one"),
    ({'video__front__type': 'sensor_msgs/msg/Joy'}, 'video.front.type'),
    ({'video__front__topic': None}, 'video.front.topic is missing'),
    ({'state__velocity__components': []}, 'state.velocity.components: must not be empty'),
    ({'state__velocity__max_age_ms': None}, 'state.velocity.max_age_ms is missing'),
    ({'state__velocity__components__0__field': 'twist.linear.x'}, 'must be one of pose.pose.pos'),
    ({'state__goal__components__0__field': 'pose.orientation'}, "field = 'pose.orientation'"),
    ({'language__annotation.human.task_description__field': 'text'}, 'must be one of data'),
    ({'state__velocity__clip_radius_m': 1.0}, 'state.velocity.clip_radius_m = 1'),
    ({'state__goal__seen_from__type': 'std_msgs/msg/String'}, 'state.goal.seen_from.type'),
    ({'language': {}}, 'language: needs exactly one key, has 0'),
    ({'action__base_velocity__meaning': 'relative'}, 'action.base_velocity.meaning'),
    ({'action__base_velocity__interface': 'pose'}, 'action.base_velocity.interface'),
    ({'action__base_velocity__components__0__minimum': 0.1}, 'must enclose 0'),
    ({'action__base_velocity__components__0__max_jerk': 0}, 'components[0].max_jerk = 0'),
    ({'action__base_velocity__components__0__max_rate': 1}, 'components[0].max_rate: is not a key'),
    ({'action__base_velocity__components__0__max_acceleration': None},
     'components[0].max_acceleration is missing'),
    ({'action__base_velocity__components__0__scale': 0}, 'components[0].scale = 0: must not be'),
    ({'action__base_velocity__meaning': 'dataset'}, 'components[0].scale is missing'),
    ({'action': {}}, 'action: must not be empty'),
    ({'action__base_velocity__components__0__drives': 'angular.z'},
     'angular.z on policy/cmd_vel is driven by action.base_velocity v'),
    ({'action__base_velocity__topic': 'odom'}, 'is also the source of state.velocity'),
    ({'state__velocity__topic': 'goal_pose'}, 'takes goal_pose as'),
    ({'state': [1]}, 'state = [1]: must be a mapping'),
])
def test_a_broken_rule_is_named_by_its_key(change, message):
    with pytest.raises(EmbodimentError) as error:
        parse(changed(**change))
    assert message in str(error.value)


@pytest.mark.parametrize('document', [None, [], 'amr', 3])
def test_a_file_that_is_no_mapping_is_refused(document):
    with pytest.raises(EmbodimentError, match='must be a mapping'):
        parse(document)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(EmbodimentError, match=r'none\.yaml'):
        embodiment_file.load(tmp_path / 'none.yaml')
    (tmp_path / 'bad.yaml').write_text('a: [')
    with pytest.raises(EmbodimentError, match=r'bad\.yaml'):
        embodiment_file.load(tmp_path / 'bad.yaml')


def test_the_digest_covers_what_a_network_must_agree_with():
    digest = AMR.modality_sha256(VOCABULARY.sha256)

    def other(**change):
        return parse(changed(**change)).modality_sha256(VOCABULARY.sha256)

    assert other(video__front__topic='elsewhere') == digest  # wiring is the robot's own business
    assert other(action__base_velocity__components__0__maximum=0.5) == digest
    assert other(action_period_ms=50) != digest
    assert other(state__velocity__components__0__unit='km/h') != digest
    assert other(state__goal__clip_radius_m=5.0) != digest
    assert AMR.modality_sha256('other words') != digest


JOINTS = {
    'interface': 'joints', 'topic': 'policy/joint_trajectory', 'meaning': 'absolute',
    'unit': '%', 'scale': 0.01,
    'limits': {'lower': -1.0, 'max_velocity': 2.0, 'max_acceleration': 6.0, 'max_jerk': 80.0},
    'joints': {'pan': [-2.0, 1.5], 'lift': {'upper': 1.0, 'max_velocity': 0.5},
               'grip': {'upper': 1.0, 'scale': 0.5, 'offset': 0.25}}}


def with_arm(**change):
    return parse(changed(action__arm=JOINTS | change))


def test_joints_take_from_their_key_what_they_do_not_say():
    robot = with_arm()
    arm = robot.actions[1]
    assert (arm.name, arm.positional, arm.feedback, arm.frame) == (
        'action.arm', True, 'joint_states', '')
    pan, lift, grip = arm.components
    assert (pan.name, pan.drives, pan.unit, pan.scale, pan.offset) == ('pan', 'pan', '%', 0.01, 0)
    assert (pan.minimum, pan.maximum) == (-2.0, 1.5)
    assert (lift.minimum, lift.maximum) == (-1.0, 1.0)
    assert [part.max_rate for part in arm.components] == [2.0, 0.5, 2.0]
    assert (pan.max_rate2, pan.max_rate3) == (6.0, 80.0)
    assert (grip.scale, grip.offset) == (0.5, 0.25)


def test_the_action_vector_is_all_columns_in_the_file_s_order():
    robot = with_arm()
    assert [part.drives for part in robot.columns] == [
        'linear.x', 'angular.z', 'pan', 'lift', 'grip']
    assert robot.positional == (False, False, True, True, True)
    assert robot.slices == {'action.base_velocity': slice(0, 2), 'action.arm': slice(2, 5)}
    assert robot.topics['joint_states'] == ('sensor_msgs/msg/JointState', False)


def test_keys_of_one_topic_are_one_command():
    grip = JOINTS | {'joints': {'grip': [0.0, 1.0]}}
    robot = parse(changed(action__arm=JOINTS | {'joints': {'pan': [-2.0, 1.5]}},
                          action__gripper=grip))
    assert robot.commands == (
        Command('policy/cmd_vel', 'twist', 'base_link', '', (0, 1)),
        Command('policy/joint_trajectory', 'joints', '', 'joint_states', (2, 3)))
    # A key may lie between two of another topic.
    document = changed()
    drive = document['action'].pop('base_velocity')
    document['action'] = {'arm': JOINTS | {'joints': {'pan': [-2.0, 1.5]}},
                          'base_velocity': drive, 'gripper': grip}
    assert [command.columns for command in parse(document).commands] == [(0, 3), (1, 2)]


@pytest.mark.parametrize(('change', 'message'), [
    ({'topic': 'policy/cmd_vel'}, "arm.interface = 'joints': action.base_velocity drives"),
    ({'joints': []}, 'action.arm.joints: must not be empty'),
    ({'joints': {'pan': [1.0]}}, 'joints.pan = [1.0]: must be [lower, upper]'),
    ({'joints': {'pan': [1.0, 0.5]}}, 'lower 1 must be below upper 0.5'),
    ({'joints': {'pan': [0.0, float('inf')]}}, 'joints.pan.upper = inf: must be finite'),
    ({'joints': {1: [0.0, 1.0]}}, '1 is not the name of a joint'),
    ({'joints': {'pan': {'upper': 1.0, 'speed': 1.0}}}, 'joints.pan.speed: is not a key'),
    ({'joints': {'pan': None}}, 'joints.pan.upper is missing'),
    ({'unit': None}, 'joints.pan.unit is missing'),
    ({'frame': 'base_link'}, 'action.arm.frame: is not a key'),
    ({'meaning': 'dataset', 'scale': None}, 'joints.pan.scale is missing: with meaning: dataset'),
    ({'limits': {'max_jerk': -1.0, 'max_velocity': 1.0, 'max_acceleration': 1.0}},
     'joints.pan.max_jerk = -1: must be positive'),
    ({'limits': {'velocity': 1.0}}, 'action.arm.limits.velocity: is not a key'),
    ({'feedback': 'odom'}, 'action.arm.feedback.type'),
    ({'topic': 'joint_states'}, "action.arm.topic = 'joint_states': is also the source of"),
])
def test_a_broken_rule_of_joints_is_named(change, message):
    with pytest.raises(EmbodimentError) as error:
        with_arm(**change)
    assert message in str(error.value)


def test_a_joint_is_driven_once():
    with pytest.raises(EmbodimentError, match=r'action.more: pan on policy/joint_trajectory is dri'
                                              r'ven by action.arm pan already'):
        parse(changed(action__arm=JOINTS, action__more=JOINTS))


STATE = {'topic': 'joint_states', 'type': 'sensor_msgs/msg/JointState', 'max_age_ms': 100,
         'max_skew_ms': 100, 'unit': 'rad', 'joints': ['pan', 'lift']}


def test_joints_of_a_state_are_a_list_or_a_mapping():
    key = parse(changed(state__arm=STATE)).state[-1]
    assert [(part.name, part.joint, part.field, part.unit, part.scale, part.offset)
            for part in key.components] == [('pan', 'pan', 'position', 'rad', 1.0, 0.0),
                                            ('lift', 'lift', 'position', 'rad', 1.0, 0.0)]
    scaled = STATE | {'field': 'velocity', 'scale': 2.0,
                      'joints': {'pan': None, 'lift': {'scale': 3.0, 'offset': 1.0, 'unit': '%'}}}
    pan, lift = parse(changed(state__arm=scaled)).state[-1].components
    assert (pan.field, pan.scale, lift.scale, lift.offset, lift.unit) == (
        'velocity', 2.0, 3.0, 1.0, '%')


@pytest.mark.parametrize(('change', 'message'), [
    ({'field': 'torque'}, "state.arm.field = 'torque': must be one of"),
    ({'joints': ['pan', 'pan']}, 'state.arm.joints: a joint is there twice'),
    ({'joints': 'pan'}, "state.arm.joints = 'pan': must be a list or a mapping"),
    ({'joints': {'pan': {'lower': 0.0}}}, 'state.arm.joints.pan.lower: is not a key'),
    ({'components': []}, 'state.arm.components: is not a key'),
    ({'topic': 'odom'}, 'state.arm.type'),
    ({'seen_from': {'topic': 'odom', 'type': 'nav_msgs/msg/Odometry', 'max_age_ms': 100}},
     'a position seen from a base has x and y'),
])
def test_a_broken_rule_of_a_joint_state_is_named(change, message):
    with pytest.raises(EmbodimentError) as error:
        parse(changed(state__arm=STATE | change))
    assert message in str(error.value)


def rotated(**component):
    part = {'name': 'yaw', 'unit': 'rad', 'field': 'pose.pose.orientation'} | component
    return parse(changed(state__velocity__components=[part]))


def test_a_rotation_names_its_convention():
    part = rotated(rotation='axis_angle.z', near=[3.0, 0, 0]).state[0].components[0]
    assert (part.rotation, part.near) == ('axis_angle.z', (3.0, 0.0, 0.0))
    for component, message in (({'rotation': 'euler.z'}, 'must be one of rpy.roll'),
                               ({'rotation': 'rpy.yaw', 'near': [0, 0, 0]}, 'near: goes with'),
                               ({'near': [0, 0, 0], 'field': 'pose.pose.position.x'},
                                'near: goes with'),
                               ({'rotation': 'rpy.yaw', 'field': 'pose.pose.position.x'},
                                'must be one of pose.pose.orientation'),
                               ({'rotation': 'axis_angle.x', 'near': [0, 0]}, 'a list of 3'),
                               ({'rotation': 'axis_angle.x', 'near': [0, 0, True]}, 'of 3')):
        with pytest.raises(EmbodimentError) as error:
            rotated(**component)
        assert message in str(error.value)


def test_a_goal_comes_in_metres():
    with pytest.raises(EmbodimentError, match=r'state.goal.seen_from: goes with metres'):
        parse(changed(state__goal__components__0__scale=2.0))


def test_the_digest_tells_conventions_and_meanings_apart_and_not_the_wiring():
    def digest(**change):
        return with_arm(**change).modality_sha256(VOCABULARY.sha256)

    same = digest()
    assert digest(scale=0.02) == same
    assert digest(limits=JOINTS['limits'] | {'max_jerk': 1.0}) == same
    assert digest(topic='policy/arm', feedback='arm/joint_states') == same
    assert digest(meaning='resolved') != same
    assert digest(unit='rad') != same
    other_order = dict(reversed(JOINTS['joints'].items()))
    assert digest(joints=other_order) != same
    parts = [rotated(rotation='rpy.yaw'), rotated(rotation='axis_angle.z'),
             rotated(rotation='axis_angle.z', near=[3.0, 0, 0])]
    assert len({part.modality_sha256('') for part in parts}) == 3


def test_the_period_is_published_in_whole_milliseconds():
    robot = parse(changed(action_period_ms=66.666667))
    assert (robot.action_period_ns, robot.action_period_ms) == (66_666_667, 67)


def test_the_command_prints_the_digest(capsys):
    assert embodiment_file.main([str(CONFIG / 'amr.yaml')]) == 0
    assert capsys.readouterr().out.strip() == AMR.modality_sha256(VOCABULARY.sha256)
    assert embodiment_file.main([str(CONFIG / 'none.yaml')]) == 1
    assert 'none.yaml' in capsys.readouterr().err


def test_the_model_repository_publishes_this_digest(root):
    config = (root / 'docker/triton/model_repository/amr/config.pbtxt').read_text()
    assert AMR.modality_sha256(VOCABULARY.sha256) in config, (
        'run: python -m policy_client.embodiment_file config/embodiments/amr.yaml')



def places(part, path=()):
    """The path of every value in a document."""
    found = [path] if path else []
    if isinstance(part, dict | list):
        for key, inner in part.items() if isinstance(part, dict) else enumerate(part):
            found += places(inner, (*path, key))
    return found


ANYTHING = st.sampled_from([None, True, 0, -1, 10 ** 400, 1e300, float('nan'), '', 'x', [], [1],
                            [None, None], {}, {'x': 1}, {1: {}}, datetime.date(2026, 1, 1)])


@given(st.sampled_from(sorted(path.name for path in CONFIG.glob('*.yaml'))), st.data())
def test_whatever_stands_in_a_file_is_read_or_refused_and_nothing_else(name, data):
    document = yaml.safe_load((CONFIG / name).read_text())
    place = data.draw(st.sampled_from(places(document)))
    part = document = copy.deepcopy(document)
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = data.draw(ANYTHING)
    with contextlib.suppress(EmbodimentError):
        parse(document)


@pytest.mark.parametrize('path', sorted(CONFIG.glob('*.yaml')), ids=lambda path: path.stem)
def test_every_key_of_a_file_is_explained(path, root, monkeypatch):
    """What the parser asks a file for, of keys that have fixed names, is in the documentation."""
    asked = set()
    has, take = Section.has, Section._take
    monkeypatch.setattr(Section, 'has', lambda self, key: asked.add(key) or has(self, key))
    monkeypatch.setattr(Section, '_take',
                        lambda self, key, *rest: asked.add(key) or take(self, key, *rest))
    document = yaml.safe_load(path.read_text())
    parse(document)
    # Names that a file is free to choose.
    names = {name for kind in ('video', 'state', 'language', 'action')
             for name in document.get(kind, ())}
    names |= {joint for kind in ('state', 'action') for key in document[kind].values()
              for joint in key.get('joints', ())}
    text = (root / 'src/policy_client/docs/embodiments.md').read_text()
    assert len(asked - names) > 20
    assert [key for key in sorted(asked - names) if f'`{key}`' not in text] == []
