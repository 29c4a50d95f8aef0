"""What a live policy says to the observations of a bag."""

import gr00t_server
import onnx_file
import pytest
import test_pilot
import yaml
from policy_scene import CONFIG, VOCABULARY, changed, model
from replay_scene import RosWorld, refusal
from test_pilot import CLOUD, good

from policy_client import embodiment_file
from policy_client.handshake import TensorSpec

VELOCITY = 'action.base_velocity'


def test_a_live_policy_is_shown_the_same_observations(replayed, tmp_path):
    """The stand-in drives at 0.5 m/s straight to a goal ahead; recorded were 0.4 m/s in a curve."""
    world = RosWorld()
    world.answers[CLOUD] = good(0.4, 0.1)
    world.go().run(3000)
    picture = tmp_path / 'plot.png'
    status, found, printed = replayed(
        world.recorded(), '--onnx', str(onnx_file.write(tmp_path / 'model.onnx')),
        '--plot', str(picture))
    live = found['live']['keys'][VELOCITY]
    assert status == 0  # what another policy says does not make the recording wrong
    assert live['chunks'] == found['live']['asked'] > 20
    assert live['maximum'] == pytest.approx(0.1, abs=1e-6)
    assert live['rms'] == pytest.approx(0.1, abs=1e-6)
    assert live['stream_maximum'] == pytest.approx(0.1, abs=1e-2)
    assert picture.read_bytes().startswith(b'\x89PNG')
    assert 'Live minus recorded' in printed


def test_gr00ts_own_server_is_shown_them_too(replayed, tmp_path, monkeypatch):
    language = 'annotation.human.task_description'
    document = changed(**{f'language__{language}__form': 'text',
                          f'language__{language}__unknown_words': None},
                       action__base_velocity__meaning='resolved')
    robot = embodiment_file.parse(document)
    file = tmp_path / 'robot.yaml'
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    monkeypatch.setattr(test_pilot, 'AMR', robot)
    world = RosWorld()
    inputs = [one for one in model().inputs if one.name != language]
    world.models[CLOUD] = model(
        inputs=(*inputs, TensorSpec(language, 'BYTES', (1, 1))),
        parameters=model().parameters | {
            'modality_sha256': robot.modality_sha256(VOCABULARY.sha256)})
    world.go().run(3000)
    server = gr00t_server.Standin()
    try:
        status, found, printed = replayed(
            world.recorded(), '--embodiment', str(file), '--vocabulary',
            str(CONFIG / 'vocabulary.txt'), '--server', f'{server.url}?image=224x224')
    finally:
        server.kill()
    assert status == 0, printed
    assert found['live']['asked'] == found['live']['keys'][VELOCITY]['chunks'] > 20
    assert found['live']['failures'] == {}
    # The stand-in answers with the first values of the state, far from what was recorded.
    assert found['live']['keys'][VELOCITY]['maximum'] > 0.4


def test_a_live_policy_for_another_robot_is_refused(world, replayed, tmp_path):
    other = onnx_file.write(tmp_path / 'model.onnx', output='action.arm')
    assert 'action.arm: the model sends it' in refusal(
        replayed(world.recorded(), '--onnx', str(other)))
    for server in ('grpc://127.0.0.1:9', 'zmq://127.0.0.1:9'):
        assert 'cannot be used: ' in refusal(replayed(world.recorded(), '--server', server))
    assert "'http://x' is not of the form" in refusal(
        replayed(world.recorded(), '--server', 'http://x'))
