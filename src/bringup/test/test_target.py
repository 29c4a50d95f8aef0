"""Profiles: what is merged, what is replaced, and each way to be wrong in one sentence."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bringup.target import Profile, TargetError

CONFIG = Path(__file__).resolve().parents[3] / 'config'
TARGETS = ('orin_nano', 'agx_orin', 'thor', 'dgx', 'desk', 'demo')


@pytest.fixture
def config(tmp_path):
    """A copy of the real configuration that a test may spoil."""
    shutil.copytree(CONFIG, tmp_path / 'config')
    models = tmp_path / 'docker/triton/model_repository/amr/1'
    models.mkdir(parents=True)
    (models / 'model.onnx').touch()
    return tmp_path / 'config'


def change(config, target, text):
    (config / 'targets' / f'{target}.yaml').write_text(text)


@pytest.mark.parametrize('name', TARGETS)
def test_every_target_resolves_with_its_defaults(config, name):
    target = Profile(config, name).resolve({})
    names = [node.name for node in target.nodes]
    assert {'safety_reflex', 'safety_watchdog', 'safety_monitor', 'policy_client'} <= set(names)
    assert ({'edge_case_recorder', 'uploader'} <= set(names)) == (name != 'desk')
    assert ('world' in names) == (name in ('demo', 'desk'))
    reflex = next(node for node in target.nodes if node.name == 'safety_reflex')
    assert reflex.container is None, 'the reflex never shares a process'
    assert not reflex.lifecycle, 'nothing may deactivate the reflex'


@pytest.mark.parametrize('name', TARGETS)
def test_the_simulated_world_can_be_every_targets_hardware(config, name):
    target = Profile(config, name).resolve({'hardware': 'world', 'seed': '7'})
    world = next(node for node in target.nodes if node.name == 'world')
    assert world.parameters['seed'] == 7
    scenario = 'empty' if name == 'desk' else 'aisle'
    assert world.parameters['scenario_file'] == str(config / f'scenarios/{scenario}.yaml')


def test_mappings_merge_and_null_removes(config):
    change(config, 'mine', 'schema_version: 1\nextends: thor\n'
           'nodes: {safety_monitor: null, policy_client: {parameters: {deadline_ms: 50.0}}}\n')
    target = Profile(config, 'mine').resolve({'onboard': 'grpc://127.0.0.1:9001'})
    client = next(node for node in target.nodes if node.name == 'policy_client')
    assert client.parameters['deadline_ms'] == 50.0
    assert client.parameters['endpoints'][0] == 'onboard=grpc://127.0.0.1:9001'
    assert client.parameters['model_name'] == 'amr'
    assert 'safety_monitor' not in [node.name for node in target.nodes]
    assert 'people' not in target.containers, 'an empty container is not started'


@pytest.mark.parametrize(('text', 'message'), [
    ('schema_version: 1\nextends: nothing\n', "there is no target 'nothing'"),
    ('schema_version: 1\nextends: mine\n', 'extends itself through mine -> mine'),
    ('schema_version: 2\n', 'schema_version: 1 was expected'),
    ('schema_version: 1\nnode: {}\n', "'node' was unexpected"),
    ('schema_version: [\n', 'cannot be read'),
    ('schema_version: 1\nextends: thor\nnodes: {policy_client: {parameters: {dedline_ms: 5.0}}}\n',
     "nodes.policy_client: parameter 'dedline_ms' is not one of"),
    ('schema_version: 1\nextends: thor\nnodes: {safety_reflex: {parameters: {clear_s: 0.1}}}\n',
     'nodes.safety_reflex: parameter clear_s = 0.1: must be 2.0 to 60.0'),
    ('schema_version: 1\nextends: thor\nnodes: {safety_reflex: {parameters: {robot_file: /x}}}\n',
     'nodes.safety_reflex: parameter robot_file: there is no file /x'),
    ('schema_version: 1\nextends: thor\nnodes: {policy_client: {container: cellar}}\n',
     "nodes.policy_client.container: there is no container 'cellar'"),
    ('schema_version: 1\nnodes: {a: {package: b}}\n', 'nodes.a: needs either an executable or'),
    ('schema_version: 1\nnodes: {a: {package: b, plugin: C}}\n', 'nodes.a: a plugin needs a'),
    ('schema_version: 1\nnodes: {a: {package: b, executable: $(var c)}}\n',
     '$(var c) is not a launch argument'),
])
def test_a_wrong_profile_is_one_sentence(config, text, message):
    change(config, 'mine', text)
    with pytest.raises(TargetError) as error:
        Profile(config, 'mine').resolve({})
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_wrong_launch_arguments_are_named(config):
    with pytest.raises(TargetError, match=r"no launch argument 'sed'; there are: namespace, "):
        Profile(config, 'demo').resolve({'sed': '1'})
    with pytest.raises(TargetError, match=r'hardware:=cardboard is not one of robot, world'):
        Profile(config, 'thor').resolve({'hardware': 'cardboard'})


def test_every_parameter_under_config_is_a_string_number_bool_or_list(config):
    for file in (config / 'targets').glob('*.yaml'):
        for spec in (yaml.safe_load(file.read_text()).get('nodes') or {}).values():
            for value in (spec or {}).get('parameters', {}).values():
                assert isinstance(value, str | int | float | bool | list)


def test_a_wrong_argument_starts_no_process(tmp_path):
    done = subprocess.run(
        ['ros2', 'launch', 'bringup', 'thor.launch.py', 'hardware:=cardboard'], timeout=60,
        capture_output=True, text=True, check=False)
    assert 'hardware:=cardboard is not one of robot, world' in done.stdout + done.stderr
    assert 'process started' not in done.stdout + done.stderr
