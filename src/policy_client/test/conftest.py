"""What the tests share: where things are, and one real Triton for all of them."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import onnx_file

from policy_client.desk_triton import ENVIRONMENT_VARIABLE, LIBPYTHON_VARIABLE, DeskTriton

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='session')
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope='session')
def model_onnx(tmp_path_factory) -> Path:
    """The trained network, or a stand-in with its interface in a checkout that lacks it."""
    trained = ROOT / 'docker/triton/model_repository/amr/1/model.onnx'
    if trained.exists():
        return trained
    folder = tmp_path_factory.mktemp('onnx') / '1'
    folder.mkdir()
    return onnx_file.write(folder / 'model.onnx')


@pytest.fixture(scope='session')
def repository(tmp_path_factory, model_onnx) -> Path:
    """The model repository of this checkout, complete."""
    checkout = ROOT / 'docker/triton/model_repository'
    if model_onnx.is_relative_to(checkout):
        return checkout
    copy = tmp_path_factory.mktemp('triton') / 'model_repository'
    shutil.copytree(checkout, copy)
    shutil.copy(model_onnx, copy / 'amr/1/model.onnx')
    return copy


@pytest.fixture(scope='session')
def triton_environment() -> None:
    """Skip where there is no Triton to run; in CI it must be there."""
    made = ROOT / '.spinal/env/triton'
    if ENVIRONMENT_VARIABLE not in os.environ and (made / 'spinal-stamp').exists():
        os.environ[ENVIRONMENT_VARIABLE] = str(made)
    lacking = [name for name in (ENVIRONMENT_VARIABLE, LIBPYTHON_VARIABLE)
               if not os.environ.get(name)]
    if lacking:
        reason = f'{lacking[0]} is not set: there is no Triton to test against (use ./dev test)'
        if os.environ.get('CI'):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope='session')
def running_triton(triton_environment, repository, tmp_path_factory):
    with DeskTriton(repository, folder=tmp_path_factory.mktemp('desk')) as server:
        yield server


@pytest.fixture(scope='module')
def world():
    """A drive in a virtual world, with all that its client told (of the replay's tests)."""
    from replay_scene import driven
    return driven()


@pytest.fixture
def replayed(tmp_path, capsys):
    """Runs the replay of a bag as a person does: (status, figures, what it printed)."""
    from replay_scene import Replayer
    return Replayer(tmp_path, capsys)


@pytest.fixture
def triton(running_triton):
    """A ready server that serves the model as it is; whatever a test did to it is undone after."""
    loaded = running_triton.parameters()
    yield running_triton
    running_triton.resume()
    running_triton.start()
    changed = {name: value for name, value in running_triton.parameters().items()
               if value != loaded[name]}
    if changed:
        running_triton.reload(**{name: loaded[name] for name in changed})
