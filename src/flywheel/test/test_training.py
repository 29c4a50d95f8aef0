"""The training path itself: a few steps and an export, in the training environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flywheel.amr_policy import __main__ as train
from flywheel.amr_policy import dataset, wire
from flywheel.amr_policy.onnx_policy import OnnxPolicy

ROOT = Path(__file__).resolve().parents[3]
TRAIN_ENV = Path(os.environ.get('SPINAL_TRAIN_ENV', ROOT / '.spinal/env/train'))


def tiny() -> dataset.CameraData:
    rng = np.random.default_rng(0)
    return dataset.CameraData(rng.integers(0, 256, (200, 56, 56, 3), dtype=np.uint8),
                              rng.uniform(-1, 1, (200, 3)), np.arange(200, dtype=np.int32) // 10)


def test_frames_come_back_as_they_were_stored(tmp_path):
    tiny().save(tmp_path)
    back = dataset.CameraData.load(tmp_path)
    np.testing.assert_array_equal(back.images, tiny().images)
    np.testing.assert_array_equal(back.poses, tiny().poses)


def test_frames_that_do_not_match_are_refused(tmp_path):
    tiny().save(tmp_path)
    np.save(tmp_path / 'poses.npy', np.zeros((3, 3)))
    with pytest.raises(ValueError, match='different lengths'):
        dataset.CameraData.load(tmp_path)


def test_pool_is_the_mean_of_4x4_pixels():
    image = np.zeros((wire.IMAGE_SIDE, wire.IMAGE_SIDE, 3), np.uint8)
    image[4:8, 8:12, 1] = np.arange(16).reshape(4, 4) * 10
    pooled = dataset.pool(image)
    assert pooled.shape == (56, 56, 3)
    assert pooled[1, 2].tolist() == [0, 75, 0]
    assert pooled.sum() == 75


def test_without_its_environment_one_sentence_says_so(monkeypatch):
    monkeypatch.delenv('SPINAL_TRAIN_ENV', raising=False)
    with pytest.raises(train.TrainError, match=r'run this as \./dev train'):
        train._jax('train')


@pytest.mark.skipif(not (TRAIN_ENV / 'bin/python').exists(),
                    reason="no training environment; './dev train' makes it")
def test_a_few_steps_and_an_export(tmp_path, monkeypatch):
    monkeypatch.setenv('SPINAL_TRAIN_ENV', str(TRAIN_ENV))
    tiny().save(tmp_path / 'camera')
    train._jax('train', tmp_path / 'camera', tmp_path, '--steps', '20')
    record = json.loads(train._jax('export', tmp_path / 'parameters.npz', tmp_path / 'm.onnx'))
    assert record['jax_difference'] < 1e-4
    chunk = OnnxPolicy(tmp_path / 'm.onnx')(None, [0.0, 0.0], [5.0, 0.0], np.zeros(16, np.int64))
    assert chunk.shape == (wire.HORIZON, 2)


def test_help_lists_the_options():
    shown = subprocess.run([sys.executable, '-m', 'flywheel.amr_policy', '--help'],
                           capture_output=True, text=True, check=True).stdout
    assert '--reuse' in shown
