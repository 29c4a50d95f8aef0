"""./dev on machines that lack something: one sentence, a non-zero exit, nothing to trip over."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from spinal_dev.steps import explain

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path):
    """dev and its tools alone, with empty caches: a fresh clone before its first call."""
    shutil.copy(ROOT / 'dev', tmp_path / 'dev')
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools',
                    ignore=shutil.ignore_patterns('__pycache__'))
    for folder in ('src', 'isaac_bridge', 'launch', 'config/targets', 'docker'):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def clean_env(checkout, **more):
    kept = {key: os.environ[key] for key in ('PATH', 'HOME', 'LANG') if key in os.environ}
    return kept | {'PIP_CACHE_DIR': str(checkout / 'cache'),
                   'UV_CACHE_DIR': str(checkout / 'cache')} | more


def call(checkout, *words, env=None, before=()):
    return subprocess.run([*before, str(checkout / 'dev'), *words], capture_output=True, text=True,
                          timeout=120, check=False, env=env or clean_env(checkout))


def one_sentence(text):
    lines = [line for line in text.splitlines() if line and not line.startswith('--')]
    assert len(lines) == 1, text
    return lines[0]


def test_no_python_3_12(checkout):
    bare = checkout / 'bin'
    bare.mkdir()
    for name in ('bash', 'env', 'dirname', 'ls'):
        (bare / name).symlink_to(shutil.which(name))
    if Path('/usr/bin/python3.12').exists() or Path('/usr/local/bin/python3.12').exists():
        pytest.skip('this system has a Python 3.12 in a place that cannot be hidden')
    done = call(checkout, 'shell', 'true', env={'PATH': str(bare), 'HOME': '/nonexistent'})
    assert done.returncode == 1
    assert 'Python 3.12 with venv was not found; install it' in one_sentence(done.stderr)


@pytest.mark.skipif(shutil.which('setarch') is None, reason='setarch is not installed')
def test_an_unsupported_processor(checkout):
    done = call(checkout, 'shell', 'true', before=('setarch', 'i686'))
    assert done.returncode == 1
    assert 'is not supported: Spinal runs on Linux on x86_64 or aarch64' in done.stderr
    assert not (checkout / '.spinal/env/ros').exists()


def test_no_network_and_again_no_network(checkout):
    env = clean_env(checkout, PIP_INDEX_URL='http://127.0.0.1:9/simple', PIP_RETRIES='0',
                    PIP_NO_INDEX='0', PIP_FIND_LINKS='', PIP_CONFIG_FILE=os.devnull)
    for _ in range(2):
        done = call(checkout, 'shell', 'true', env=env)
        assert done.returncode == 1
        assert 'the package index did not answer; check the network' in one_sentence(done.stderr)


def test_interrupted_it_leaves_no_process(checkout):
    # A test run in the background inherits an ignored SIGINT; this is about one at a terminal.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen([str(checkout / 'dev'), 'shell', 'true'], env=clean_env(checkout),
                               stderr=subprocess.PIPE, start_new_session=True)
    signal.signal(signal.SIGINT, before)
    end = time.monotonic() + 20
    while not (checkout / '.spinal/log').exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert b'run it again' in process.stderr.read()
    end = time.monotonic() + 5  # the killed are gone when the system has taken them in
    while (left := processes_of(checkout)) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == ''


def processes_of(checkout):
    return subprocess.run(['pgrep', '-af', str(checkout)], capture_output=True, text=True,
                          check=False).stdout


@pytest.mark.parametrize(('output', 'advice'), [
    ('OSError: [Errno 28] No space left on device', 'the disk is full'),
    ('error: Failed to fetch: `https://x/`', 'the package index did not answer'),
    ('Hash mismatch for `numpy`', 'does not match its pinned hash'),
])
def test_outside_causes_are_explained(output, advice):
    assert advice in explain(output)
    assert explain('SyntaxError: invalid syntax') is None


def test_standard_input_belongs_to_the_verb():
    done = subprocess.run([str(ROOT / 'dev'), 'shell', 'python', '-'], input='print(6 * 7)',
                          capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == '42'


def test_an_unknown_target_and_verb_are_named(checkout):
    done = call(checkout, 'launch', 'toaster')
    assert done.returncode == 1
    assert 'there is no launch/toaster.launch.py' in one_sentence(done.stderr)
    assert "invalid choice: 'fly'" in call(checkout, 'fly').stderr
