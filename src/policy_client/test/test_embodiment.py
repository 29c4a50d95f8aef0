import pytest
import yaml
from policy_scene import AMR, CONFIG, VOCABULARY, changed

from policy_client import embodiment_file
from policy_client.embodiment import Command
from policy_client.embodiment_file import EmbodimentError, parse


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
    ({'action__base_velocity__components__0__drives': 'angular.z'}, 'angular.z on policy/cmd_vel is driven by action.base_velocity v'),
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


def test_the_command_prints_the_digest(capsys):
    assert embodiment_file.main([str(CONFIG / 'amr.yaml')]) == 0
    assert capsys.readouterr().out.strip() == AMR.modality_sha256(VOCABULARY.sha256)
    assert embodiment_file.main([str(CONFIG / 'none.yaml')]) == 1
    assert 'none.yaml' in capsys.readouterr().err


def test_the_model_repository_publishes_this_digest(root):
    config = (root / 'docker/triton/model_repository/amr/config.pbtxt').read_text()
    assert AMR.modality_sha256(VOCABULARY.sha256) in config, (
        'run: python -m policy_client.embodiment config/embodiments/amr.yaml')
