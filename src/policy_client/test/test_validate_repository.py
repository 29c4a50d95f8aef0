"""The repository of this checkout is right, and each thing that can be wrong is one line."""

import json
import shutil

import pytest
import yaml
from policy_scene import AMR, VOCABULARY, changed

from policy_client import groot_checkpoint
from policy_client.embodiment_file import parse
from policy_client.validate_repository import main, validate

ROBOT = (AMR, VOCABULARY)
CHECKPOINT = 'groot/1/standin/processor_config.json'


@pytest.fixture
def copy(repository, tmp_path):
    """A copy of this checkout's model repository, to break."""
    return shutil.copytree(repository, tmp_path / 'model_repository',
                           ignore=shutil.ignore_patterns('__pycache__'))


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_the_repository_of_this_checkout_has_no_problem(copy):
    assert validate(copy) == []
    assert validate(copy, [ROBOT]) == []


@pytest.mark.parametrize(('model', 'old', 'new', 'problem'), [
    ('amr', 'name: "amr"', 'name: "other"', "name is 'other', the folder is 'amr'"),
    ('amr', 'max_batch_size: 0', 'max_batch_size: 4', 'max_batch_size is 4: must be 0'),
    ('amr', 'max_batch_size: 0', 'max_batch_size: zero', 'config.pbtxt: 5:17'),
    ('amr', 'max_batch_size: 0', 'max_batch: 0', 'no field named "max_batch"'),
    ('groot', 'versions: [ 1 ]', 'versions: [ 1, 2 ]', 'version_policy names 2, there is no'),
    ('groot', 'versions: [ 1 ]', '', 'version_policy is specific and names no version'),
    ('groot', 'specific { versions: [ 1 ] }', 'latest { num_versions: 1 }', 'is not specific'),
    ('groot', '10000000', '50000', 'default_timeout_microseconds is 50000: must be 1000000'),
    ('groot', 'default_timeout_microseconds: 10000000', '', 'microseconds is 0: must be'),
    ('groot', 'allow_timeout_override: true', '', 'allow_timeout_override is not true'),
    ('groot', 'backend: "python"', 'backend: "vllm"', "backend is 'vllm': known are python"),
    ('groot', 'groot_checkpoint.py', 'groot.py', 'version 1: there is no groot.py'),
    ('groot', '"libero_sim"', '"libero sim"', "parameter embodiment = 'libero sim': must be"),
    ('groot', '"50"', '"50.5"', "parameter action_period_ms = '50.5': must be whole"),
    ('groot', '"modality_sha256"', '"modality_sha"', 'parameter modality_sha256 is missing'),
    ('groot', '"standin"', '"weights"', 'version 1: model_path: there is no checkpoint folder'),
    ('groot', '"256x256"', '"256"', "version 1: image_size = '256': must be"),
    ('groot', '"embodiment_tag", value: { string_value: "libero_sim"',
     '"embodiment_tag", value: { string_value: "spot"', "embodiment_tag = 'spot'"),
    ('groot', '"model_path"', '"weights"', 'lists no input and output, and no checkpoint'),
])
def test_each_mistake_is_one_problem(copy, model, old, new, problem):
    edit(copy / model / 'config.pbtxt', old, new)
    found = validate(copy)
    assert len(found) == 1, found
    assert found[0].startswith(f'{model}: ')
    assert problem in found[0]


@pytest.mark.parametrize(('line', 'problem'), [
    ('sequence_batching { }', 'sequence_batching: one cancelled'),
    ('model_transaction_policy { decoupled: true }', 'has exactly one reply'),
])
def test_what_a_deadline_does_not_go_with(copy, line, problem):
    file = copy / 'amr/config.pbtxt'
    text = file.read_text()
    # A model has one scheduler: the other one goes.
    start, end = text.index('dynamic_batching'), text.index('parameters [')
    file.write_text(text[:start] + line + '\n' + text[end:])
    found = validate(copy)
    assert any(problem in each for each in found)
    assert all(each.startswith('amr: ') for each in found)


def test_every_problem_of_every_model_is_told_at_once(copy):
    edit(copy / 'amr/config.pbtxt', '"100"', '"soon"')
    (copy / 'amr/1/model.py').unlink()
    shutil.rmtree(copy / 'groot/1')
    found = validate(copy)
    assert len(found) == 3
    assert "action_period_ms = 'soon'" in found[0]
    assert found[1] == 'amr: version 1: there is no model.py'
    assert found[2].startswith('groot: version_policy names 1')


def test_a_folder_without_a_configuration_or_without_models(copy, tmp_path):
    (copy / 'forgotten').mkdir()
    (found,) = validate(copy)
    assert found.startswith('forgotten: config.pbtxt: ')
    assert validate(tmp_path / 'nowhere') == [f'{tmp_path / "nowhere"}: is not a folder']
    (tmp_path / 'empty').mkdir()
    assert validate(tmp_path / 'empty') == [f'{tmp_path / "empty"}: has no model']


def test_tensors_are_compared_as_a_robot_would(copy):
    edit(copy / 'amr/config.pbtxt', 'dims: [ 1, 1, 224, 224, 3 ]', 'dims: [ 1, 3, 224, 224 ]')
    edit(copy / 'amr/config.pbtxt', 'TYPE_INT64', 'TYPE_STRING')
    edit(copy / 'amr/config.pbtxt', '"100"', '"50"')
    assert validate(copy) == []
    found = validate(copy, [ROBOT])
    assert [each.split(': ')[2] for each in found] == [
        'video.front', 'annotation.human.task_description', 'action_period_ms']
    assert all(each.startswith('amr: version 1, for amr: ') for each in found)


def test_an_optional_input_needs_no_topic(copy):
    extra = '{ name: "hint", data_type: TYPE_FP32, dims: [ 1 ] }'
    edit(copy / 'amr/config.pbtxt', 'input [', f'input [ {extra},')
    (found,) = validate(copy, [ROBOT])
    assert 'hint: the model wants it' in found
    edit(copy / 'amr/config.pbtxt', extra, extra.replace('] }', '], optional: true }'))
    assert validate(copy, [ROBOT]) == []


def test_a_robot_that_no_model_is_for(copy):
    other = parse(changed(embodiment='forklift'))
    assert validate(copy, [(other, VOCABULARY)]) == [
        f'{copy}: no model is for the embodiment forklift']


def test_the_tensors_of_a_checkpoint_are_compared_too(copy):
    """groot lists none: a robot with the AMR's keys is held against the stand-in's checkpoint."""
    robot = parse(changed(embodiment='libero_sim'))
    found = validate(copy, [(robot, VOCABULARY)])
    assert 'groot: version 1, for libero_sim: video.front: the model does not have it' in found
    assert any('video.wrist_image: the model wants it' in each for each in found)
    assert not any('rtc.' in each for each in found)
    edit(copy / CHECKPOINT, '"wrist_image"', '"hand_image"')
    assert any('video.hand_image' in each for each in validate(copy, [(robot, VOCABULARY)]))


def test_a_camera_as_jpeg_is_compared_as_the_picture(copy):
    file = copy / 'amr/config.pbtxt'
    edit(file, 'TYPE_UINT8, dims: [ 1, 1, 224, 224, 3 ]', 'TYPE_STRING, dims: [ 1, 1 ]')
    assert validate(copy, [ROBOT]) == [
        'amr: version 1, for amr: video.front: the model has BYTES, the embodiment UINT8',
        'amr: version 1, for amr: video.front: the model has shape (1, 1), the embodiment '
        '(1, 1, any, any, 3)']
    jpeg = '{ key: "jpeg.video.front", value: { string_value: "224x224" } }'
    edit(file, 'parameters [', f'parameters [ {jpeg},')
    assert validate(copy, [ROBOT]) == []
    edit(file, '"224x224"', '"224"')
    (found,) = validate(copy)
    assert 'jpeg.video.front' in found
    assert 'HEIGHTxWIDTH' in found


@pytest.mark.parametrize(('path', 'value', 'problem'), [
    (('processor_kwargs',), {}, 'is not a GR00T processor'),
    (('processor_kwargs', 'modality_configs', 'libero_sim', 'action'), None, 'is not a GR00T'),
    (('processor_kwargs', 'modality_configs', 'libero_sim', 'action', 'delta_indices'), [],
     'libero_sim has no action keys or steps'),
    (('processor_kwargs', 'modality_configs', 'libero_sim', 'language', 'delta_indices'), [-1, 0],
     'wants 2 instructions'),
])
def test_a_broken_checkpoint_is_named(copy, path, value, problem):
    file = copy / CHECKPOINT
    document = json.loads(file.read_text())
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    file.write_text(json.dumps(document))
    (found,) = validate(copy)
    assert problem in found
    file.write_text('{')
    (found,) = validate(copy)
    assert str(file) in found


def test_a_checkpoint_as_training_saves_it(copy):
    """With its processor in a folder of its own, and without statistics of one key."""
    standin = copy / 'groot/1/standin'
    (standin / 'processor').mkdir()
    for name in ('processor_config.json', 'statistics.json'):
        (standin / name).rename(standin / 'processor' / name)
    edit(standin / 'processor/statistics.json', '"x": {"min": [-0.5], "max": [0.5]}', '"x": {}')
    assert validate(copy) == []
    modality = groot_checkpoint.read(standin, 'libero_sim')
    assert (modality.action['x'], modality.action['y']) == (-1, 1)
    assert modality.state['gripper'] == 2
    assert modality.mean_state['gripper'] == (0.02, -0.02)


def test_the_command(copy, tmp_path, capsys):
    robot = tmp_path / 'robot.yaml'
    robot.write_text(yaml.safe_dump(changed(embodiment='forklift')))
    (tmp_path / 'vocabulary.txt').write_text('\n'.join(VOCABULARY.words))
    assert main(['--repository', str(copy)]) == 0
    assert capsys.readouterr().out == f'{copy}: no problems\n'
    edit(copy / 'amr/config.pbtxt', 'name: "amr"', 'nam: "amr"')
    assert main(['--repository', str(copy), '--embodiment', str(robot)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith('amr: config.pbtxt: ')
    assert lines[1].endswith('no model is for the embodiment forklift')
    assert main(['--repository', str(copy), '--embodiment', str(tmp_path / 'none.yaml')]) == 1
    assert 'none.yaml' in capsys.readouterr().err
