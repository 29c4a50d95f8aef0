"""The components of these tests as an installed distribution."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_harness import install


@pytest.fixture(scope='session')
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The components on the PYTHONPATH of every process that a test starts."""
    folder = install(tmp_path_factory.mktemp('site'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join((str(folder), os.environ['PYTHONPATH'])))
        yield folder
