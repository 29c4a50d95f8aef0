"""The check of a model against a robot, as a person runs it."""

import shutil

import onnx_file
import pytest

from policy_client.check import main

AMR = 'config/embodiments/amr.yaml'


def test_a_model_that_fits_is_tried(triton, root, capsys):
    assert main(['--embodiment', str(root / AMR), '--endpoint', triton.endpoint,
                 '--model', 'amr']) == 0
    shown = capsys.readouterr().out
    assert 'drives policy/cmd_vel, D = 2, absolute' in shown
    assert 'FP32 [1, 16, 2]' in shown
    assert 'fits, in' in shown
    assert '5 inferences' in shown


def test_every_key_that_does_not_fit_is_named(triton, root, capsys):
    assert main(['--embodiment', str(root / 'config/embodiments/so100.yaml'),
                 '--endpoint', triton.endpoint, '--model', 'amr']) == 1
    shown = ' '.join(capsys.readouterr().out.split())
    for key in ('video.webcam', 'state.single_arm', 'action.gripper'):
        assert f'{key}' in shown
    assert 'the model does not have it' in shown
    assert 'the model sends it and so100 has nothing that it drives' in shown
    assert 'refused in' in shown


@pytest.mark.parametrize('where', [['--endpoint', 'grpc://127.0.0.1:1'],
                                   ['--endpoint', 'http://x'], ['--onnx', '/no/such.onnx']])
def test_where_there_is_no_model_it_says_so(root, capsys, where):
    assert main(['--embodiment', str(root / AMR), *where]) == 2
    assert capsys.readouterr().err.startswith('check: ')


def test_an_onnx_file_is_checked_too(root, tmp_path, capsys):
    for name in ('amr.yaml', 'vocabulary.txt'):
        shutil.copy(root / 'config/embodiments' / name, tmp_path)
    file = onnx_file.write(tmp_path / 'model.onnx')
    assert main(['--embodiment', str(tmp_path / 'amr.yaml'), '--onnx', str(file)]) == 0
    assert 'CPUExecutionProvider' in capsys.readouterr().out
