"""The Triton model `groot` on a real Triton, with its stand-in in GR00T's place."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from embodiment_scene import ROBOTS
from embodiment_scene import observation as observed
from policy_scene import VOCABULARY

from policy_client import groot_checkpoint, images
from policy_client.desk_triton import DeskTriton, DeskTritonError
from policy_client.handshake import HandshakeError, compare
from policy_client.policies.base import Failure, Request
from policy_client.policies.triton import TritonPolicy
from policy_client.reply import checked

LANGUAGE = 'annotation.human.action.task_description'
# A policy that a release may bring by mistake; each instruction asks for another fault.
FAULTY = '''
from standin import StandinPolicy


class Faulty(StandinPolicy):
    takes_rtc_prefix = False

    def get_action(self, observation, options=None):
        actions, info = super().get_action(observation, options)
        text = observation['language']['annotation.human.task_description'][0][0]
        if text == 'raise':
            raise RuntimeError('out of memory')
        if text == 'short':
            actions = {key: rows[:, 1:] for key, rows in actions.items()}
        return actions, info


class Lame(Faulty):
    def __init__(self, *arguments, **options):
        raise OSError('no weights')


class Other(StandinPolicy):
    def get_modality_config(self):
        config = super().get_modality_config()
        config['action'].modality_keys.reverse()
        return config
'''

# What Isaac-GR00T's class is given and insists on (N1.6 and N1.7, gr00t/policy/gr00t_policy.py), in
# its place: the real one needs a GPU and a checkpoint of several GB.
GR00T_TAGS = '''
from enum import Enum


class EmbodimentTag(Enum):
    OXE_DROID = 'droid'
'''
GR00T_POLICY = '''
import numpy as np
from gr00t.data.embodiment_tags import EmbodimentTag
from standin import StandinPolicy


class Gr00tPolicy(StandinPolicy):
    def __init__(self, embodiment_tag, model_path, *, device, strict=True):
        assert isinstance(embodiment_tag, EmbodimentTag) and isinstance(model_path, str)
        assert device == 'cpu'
        super().__init__(embodiment_tag.value, model_path, device=device)

    def get_action(self, observation, options=None):
        assert set(observation) == {'video', 'state', 'language'} and options is None
        for kind, dtype, axes in (('video', np.uint8, 5), ('state', np.float32, 3)):
            keys = self.modality_configs[kind].modality_keys
            assert list(observation[kind]) == keys
            assert all(observation[kind][key].dtype == dtype for key in keys)
            assert all(observation[kind][key].ndim == axes for key in keys)
        for key in self.modality_configs['language'].modality_keys:
            [[text]] = observation['language'][key]
            assert isinstance(text, str)
        return super().get_action(observation)
'''


def variant(repository, name, **parameters):
    """The model of this checkout under another name, with other parameters."""
    shutil.copytree(repository / 'groot', repository / name)
    file = repository / name / 'config.pbtxt'
    text = file.read_text().replace('name: "groot"', f'name: "{name}"')
    text = text.replace('count: 2', 'count: 1')  # quicker to start
    for key, value in parameters.items():
        text, count = re.subn(rf'("{key}", value: {{ string_value: )"[^"]*"', rf'\1"{value}"', text)
        assert count == 1, key
    file.write_text(text)


@pytest.fixture(scope='module')
def server(triton_environment, root, tmp_path_factory):
    repository = tmp_path_factory.mktemp('groot') / 'model_repository'
    shutil.copytree(root / 'docker/triton/model_repository/groot', repository / 'groot',
                    ignore=shutil.ignore_patterns('__pycache__'))
    (repository / 'groot/1/faulty.py').write_text(FAULTY)
    for tag in ('unitree_g1', 'gr1', 'droid'):
        variant(repository, tag, embodiment_tag=tag, rtc_prefix='off', image_size='180x320')
    variant(repository, 'so100', embodiment_tag='so100', image_size='')
    variant(repository, 'faulty', embodiment_tag='so100', policy_class='faulty.Faulty')
    variant(repository, 'gr00t', embodiment_tag='droid', policy_class='')
    package = repository / 'gr00t/1/gr00t'
    for name, code in (('data/embodiment_tags.py', GR00T_TAGS),
                       ('policy/gr00t_policy.py', GR00T_POLICY)):
        (package / name).parent.mkdir(parents=True)
        (package / name).write_text(code)
    # DROID has its instruction in three wordings, for training; one is sent.
    file = repository / 'gr00t/1/standin/processor_config.json'
    key = '"annotation.language.language_instruction"'
    file.write_text(file.read_text().replace(
        f'[{key}]', f'[{key}, {key[:-1]}_2", {key[:-1]}_3"]'))
    models = sorted(path.name for path in repository.iterdir())
    with DeskTriton(repository, models=models, folder=tmp_path_factory.mktemp('desk')) as server:
        yield server


@pytest.fixture
def policy(server):
    """Gives a client of a model; its connection is closed when the test is over."""
    opened = []

    def client(model='groot', options=''):
        opened.append(TritonPolicy(f'{server.endpoint}{options}', model))
        return opened[-1]

    yield client
    for each in opened:
        each.close()


def ask(policy, inputs):
    return policy.infer(Request('r', inputs, 5_000_000_000)).result(10.0)


def observation(policy, text='pick up the cup', free=64):
    """Inputs for all that is not optional: grey pictures, states from -0.3 up, an instruction."""
    inputs = {}
    for spec in policy.handshake(5.0).inputs:
        shape = [free if size == -1 else size for size in spec.shape]
        if spec.name.startswith('rtc.'):
            continue
        if spec.datatype == 'UINT8':
            inputs[spec.name] = np.full(shape, 100, np.uint8)
        elif spec.datatype == 'FP32':
            inputs[spec.name] = np.linspace(-0.3, 0.4, shape[-1], dtype=np.float32).reshape(shape)
        else:
            inputs[spec.name] = np.array([[text.encode()]], np.object_)
    return inputs


def prefix_of(actions, rows, length):
    """An RTC prefix from a chunk, moved by half a unit so that it is told from the plan itself."""
    inputs = {f'rtc.prefix.{name.removeprefix("action.")}': array[:, :rows] + np.float32(0.5)
              for name, array in actions.items()}
    return inputs | {'rtc.prefix_length': np.array([length], np.int32)}


def test_tensors_and_sizes_come_from_the_checkpoint(policy):
    model = policy().handshake(5.0)
    sizes = {spec.name: (spec.datatype, spec.shape) for spec in model.inputs}
    assert sizes['video.image'] == sizes['video.wrist_image'] == ('UINT8', (1, 1, 256, 256, 3))
    assert sizes['state.yaw'] == ('FP32', (1, 1, 1))
    assert sizes['state.gripper'] == ('FP32', (1, 1, 2))
    assert sizes[LANGUAGE] == ('BYTES', (1, 1))
    assert sizes['rtc.prefix.gripper'] == ('FP32', (1, -1, 1))
    assert sizes['rtc.prefix_length'] == ('INT32', (1,))
    assert {spec.name: spec.shape for spec in model.outputs} == {
        f'action.{key}': (1, 16, 1)
        for key in ('x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper')}
    assert model.version == '1'
    assert model.parameters['embodiment'] == 'libero_sim'
    assert {'action_period_ms', 'modality_sha256'} <= set(model.parameters)


@pytest.mark.parametrize(('model', 'horizon'), [
    ('unitree_g1', 30), ('gr1', 16), ('droid', 32), ('so100', 16)])
def test_another_robot_is_another_parameter(policy, root, model, horizon):
    served = policy(model).handshake(5.0)
    modality = groot_checkpoint.read(
        root / 'docker/triton/model_repository/groot/1/standin', model)
    size = (-1, -1) if model == 'so100' else (180, 320)
    expected = modality.inputs(size, prefix=model == 'so100')
    assert [(spec.name, spec.shape) for spec in served.inputs] == [
        (tensor.name, tensor.dims) for tensor in expected]
    reply = ask(policy(model), observation(policy(model)))
    assert reply.failure is None, reply.detail
    assert {name: array.shape for name, array in reply.actions.items()} == {
        tensor.name: tensor.dims for tensor in modality.outputs()}
    assert all(array.shape[1] == horizon for array in reply.actions.values())
    assert all(array.dtype == np.float32 for array in reply.actions.values())


def test_the_real_class_gets_what_it_insists_on(policy):
    client = policy('gr00t')
    assert [spec.name for spec in client.handshake(5.0).inputs] == [
        'video.exterior_image_1_left', 'video.wrist_image_left', 'state.joint_position',
        'state.gripper_position', 'annotation.language.language_instruction']
    reply = ask(client, observation(client))
    assert reply.failure is None, reply.detail
    assert reply.actions['action.joint_position'].shape == (1, 32, 7)


def test_the_answer_depends_on_the_observation_alone(policy):
    client = policy()
    inputs = observation(client)
    first = ask(client, inputs).actions
    for name, array in ask(client, inputs).actions.items():
        np.testing.assert_array_equal(array, first[name])
    bright = np.full((1, 1, 256, 256, 3), 200, np.uint8)
    others = [inputs | {LANGUAGE: np.array([[b'put it down']], np.object_)},
              inputs | {'state.x': np.full((1, 1, 1), 0.7, np.float32)},
              inputs | {'video.image': bright}, inputs | {'video.wrist_image': bright}]
    found = [ask(client, other).actions['action.x'].tobytes() for other in others]
    assert len({first['action.x'].tobytes(), *found}) == 5


def test_a_robot_that_follows_the_plan_gets_the_same_plan_again(policy):
    client = policy('so100')
    inputs = observation(client)
    first = ask(client, inputs).actions
    done = 5
    for name in ('single_arm', 'gripper'):
        inputs[f'state.{name}'] = first[f'action.{name}'][:, done:done + 1]
    second = ask(client, inputs).actions
    for name, rows in first.items():
        np.testing.assert_allclose(second[name][:, :-done], rows[:, done:], atol=1e-4)
        # The same chunk laid on one row too late is far from it: a test of seams can see that.
        assert np.abs(second[name][:, 1:-done + 1] - rows[:, done:]).max() > 0.1
        assert np.abs(np.diff(rows, 2, axis=1)).max() < np.abs(np.diff(rows, axis=1)).max() / 10


def test_deltas_are_the_steps_of_a_path(policy):
    """Along one path the deltas shrink by the same share each row."""
    rows = ask(policy(), observation(policy())).actions['action.x'][0, :, 0]
    np.testing.assert_allclose(rows[1:] / rows[:-1], np.exp(-1 / 20), rtol=1e-4)


def test_a_prefix_is_continued(policy):
    client = policy('so100')
    inputs = observation(client)
    plain = ask(client, inputs).actions
    prefix = prefix_of(plain, rows=8, length=3)
    reply = ask(client, inputs | prefix)
    assert reply.failure is None, reply.detail
    for key in ('single_arm', 'gripper'):
        before, after = prefix[f'rtc.prefix.{key}'], reply.actions[f'action.{key}']
        np.testing.assert_array_equal(after[:, :3], before[:, :3])
        own = plain[f'action.{key}'][0].astype(float)
        kept = np.exp(-1 / 20)  # of the distance to the target, a row
        target = (own[1] - kept * own[0]) / (1 - kept)
        rows = np.arange(1, 14)[:, None]
        np.testing.assert_allclose(after[0, 3:], target + (before[0, 2] - target) * kept ** rows,
                                   atol=2e-3)


@pytest.mark.parametrize(('change', 'words'), [
    ({'rtc.prefix.gripper': None}, 'rtc.prefix.gripper is missing: an RTC prefix is all of'),
    ({'rtc.prefix_length': None}, 'rtc.prefix_length is missing'),
    ({'rtc.prefix.gripper': None, 'rtc.prefix.single_arm': None}, 'rtc.prefix.single_arm is'),
    ({'rtc.prefix_length': np.array([9], np.int32)}, 'rtc.prefix_length = 9: must be 0 to the 8'),
    ({'rtc.prefix_length': np.array([-1], np.int32)}, 'rtc.prefix_length = -1: must be 0'),
    ({'rtc.prefix.gripper': np.zeros((1, 7, 1), np.float32)}, 'have [7, 8] rows'),
    ({'rtc.prefix.gripper': np.full((1, 8, 1), np.nan, np.float32)}, 'gripper is not finite'),
    ({'rtc.prefix.gripper': np.zeros((1, 17, 1), np.float32),
      'rtc.prefix.single_arm': np.zeros((1, 17, 5), np.float32)}, 'from 1 to 16'),
])
def test_a_prefix_that_makes_no_sense_is_refused(policy, change, words):
    client = policy('so100')
    inputs = observation(client)
    inputs |= prefix_of(ask(client, inputs).actions, rows=8, length=3) | change
    reply = ask(client, {name: array for name, array in inputs.items() if array is not None})
    assert reply.failure is Failure.INVALID
    assert words in reply.detail


def test_a_policy_that_takes_no_prefix_refuses_one(policy):
    """NVIDIA's own class drops its options: a prefix must not be lost in silence."""
    client = policy('faulty')
    assert not [spec for spec in client.handshake(5.0).inputs if spec.name.startswith('rtc.')]
    inputs = observation(client)
    plain = ask(client, inputs)
    assert plain.failure is None, plain.detail
    reply = ask(client, inputs | prefix_of(plain.actions, rows=8, length=3))
    assert reply.failure is Failure.INVALID
    assert 'rtc.prefix' in reply.detail


@pytest.mark.parametrize(('name', 'array'), [
    ('video.image', np.zeros((1, 1, 128, 128, 3), np.uint8)),
    ('video.image', np.zeros((1, 2, 256, 256, 3), np.uint8)),
    ('state.x', np.zeros((1, 1, 2), np.float32)),
    ('state.x', np.zeros((1, 1, 1), np.float64)),
    ('state.x', None),
    (LANGUAGE, np.array([[b'pick', b'place']], np.object_)),
    (LANGUAGE, np.array([[b'\xff\xfe']], np.object_)),
    ('action.x', np.zeros((1, 16, 1), np.float32)),
])
def test_wrong_tensors_are_refused_and_the_model_goes_on(policy, name, array):
    client = policy()
    good = observation(client)
    inputs = {key: value for key, value in (good | {name: array}).items() if value is not None}
    assert ask(client, inputs).failure is Failure.INVALID
    assert ask(client, good).failure is None


def test_the_policys_own_faults_are_not_the_requests(policy):
    client = policy('faulty')
    for text, words in (('raise', 'RuntimeError: out of memory'),
                        ('short', 'the policy gives action.single_arm as (1, 15, 5)')):
        reply = ask(client, observation(client, text))
        assert reply.failure is Failure.MODEL_ERROR
        assert words in reply.detail
    assert ask(client, observation(client)).failure is None


def test_cameras_may_come_as_jpeg(server, policy):
    client = policy()
    inputs = observation(client)
    gradient = np.linspace(0, 255, 256, dtype=np.uint8)
    inputs['video.image'][:] = gradient[:, None, None]
    raw = ask(client, inputs).actions
    cameras = ('video.image', 'video.wrist_image')
    server.reload('groot', **{f'jpeg.{name}': '256x256' for name in cameras})
    try:
        compressed = policy('groot', '?jpeg_quality=90')
        sizes = {spec.name: spec.shape for spec in compressed.handshake(5.0).inputs}
        assert sizes['video.image'] == (1, 1, 256, 256, 3)
        reply = ask(compressed, inputs)
        assert reply.failure is None, reply.detail
        for name, rows in raw.items():
            np.testing.assert_allclose(reply.actions[name], rows, atol=2e-3)
        small = images.to_jpeg(np.zeros((128, 128, 3), np.uint8), 90)
        for data, words in ((small, 'is a picture of 128x128, not 256x256'),
                            (b'GIF89a', 'is not a JPEG'), (small[:40], 'is not a JPEG')):
            pictures = dict.fromkeys(cameras, np.array([[data]], np.object_))
            reply = ask(client, inputs | pictures)
            assert reply.failure is Failure.INVALID
            assert words in reply.detail
    finally:
        server.reload('groot', **{f'jpeg.{name}': '' for name in cameras})


@pytest.mark.parametrize(('parameters', 'words'), [
    ({'jpeg.video.top': '256x256'}, 'parameter jpeg.video.top: the checkpoint has no such camera'),
    ({'jpeg.video.image': '256'}, "jpeg.video.image = '256': must be HEIGHTxWIDTH"),
    ({'policy_class': ''}, r"Gr00tPolicy' cannot be imported \(No module named 'gr00t'\): install"),
    ({'policy_class': 'standin.Nothing'}, "cannot be imported .* has no attribute 'Nothing'"),
    ({'policy_class': 'faulty.Lame'}, 'the policy does not start: OSError: no weights'),
    ({'policy_class': 'faulty.Other'}, 'the policy has the action keys and steps'),
    ({'model_path': '/nowhere'}, 'model_path: there is no checkpoint folder /nowhere'),
    ({'embodiment_tag': 'spot'}, "embodiment_tag = 'spot': .* knows droid, gr1, libero_sim"),
    ({'image_size': '256'}, "image_size = '256': must be HEIGHTxWIDTH"),
    ({'rtc_ramp_rate': '0.0'}, "rtc_ramp_rate = '0.0': must be a number above 0"),
    ({'rtc_ramp_rate': 'nan'}, "rtc_ramp_rate = 'nan': must be a number above 0"),
    ({'rtc_prefix': 'yes'}, "rtc_prefix = 'yes': must be one of auto, on, off"),
])
def test_a_load_that_cannot_work_says_why_and_changes_nothing(server, policy, parameters, words):
    with pytest.raises(DeskTritonError, match=words):
        server.reload('groot', **parameters)
    assert ask(policy(), observation(policy())).failure is None


def test_a_robot_s_handshake_and_a_chunk_that_it_may_execute(policy):
    """What libero_sim.yaml says, against the server: names, sizes, digest, prefix, limits."""
    robot, client = ROBOTS['libero_sim'], policy()
    signature = compare(robot, VOCABULARY, client.handshake(5.0))
    assert (signature.horizon, signature.takes_prefix) == (16, True)
    assert signature.images == {'video.image': (256, 256), 'video.wrist_image': (256, 256)}
    reply = ask(client, observed(robot).inputs)
    assert reply.failure is None, reply.detail
    assert checked(reply.actions, robot, signature.horizon, 0.05).shape == (16, 7)
    with pytest.raises(HandshakeError, match='embodiment: the model has libero_sim, this robot so'):
        compare(ROBOTS['so100'], VOCABULARY, client.handshake(5.0))


def test_the_two_copies_of_the_reader_are_one(root):
    """The model's folder is complete by itself, as a container or an object store needs it."""
    copy = root / 'docker/triton/model_repository/groot/1/groot_checkpoint.py'
    assert copy.read_bytes() == Path(groot_checkpoint.__file__).read_bytes()
