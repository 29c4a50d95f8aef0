"""The uploader's meters, scraped over HTTP as Prometheus does, and held against the spool."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from making import NOON_NS, S, a_case, an_open_spool

from edge_case_recorder.spool import State, cases, mark
from edge_case_recorder.spool_view import SpoolReader
from edge_case_recorder.store import FolderStore
from edge_case_recorder.uploader import main
from edge_case_recorder.uploading.carrier import Carrier, Did


@pytest.fixture
def spool(tmp_path):
    return an_open_spool(tmp_path / 'spool')


@pytest.fixture
def client():
    """The library that the meters need; the test is skipped, and says so, without it."""
    return pytest.importorskip('prometheus_client', reason='prometheus_client is not installed')


def the_meters(carrier, cap_bytes_s=None):
    from edge_case_recorder.uploading.metrics import Meters
    return Meters(carrier, cap_bytes_s, utc_s=lambda: NOON_NS / 1e9 + 600.0)


def scraped(port):
    """Samples by name and labels, through the parser of the library."""
    from prometheus_client.parser import text_string_to_metric_families
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=10) as reply:
        text = reply.read().decode()
    return {(sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


def test_an_upload_is_metered_from_the_queue_to_the_bucket(client, spool, tmp_path):
    urgent = a_case(spool, stamp_ns=NOON_NS, priority=90, messages=60, size=100_000)
    a_case(spool, stamp_ns=NOON_NS + S, priority=50)
    rotten = a_case(spool, stamp_ns=NOON_NS + 2 * S, priority=10)
    next(rotten.glob('*.mcap')).write_bytes(b'rotten')
    carrier = Carrier(spool.root, FolderStore(tmp_path / 'bucket'))
    meters = the_meters(carrier, cap_bytes_s=5e7)
    port = meters.serve('127.0.0.1', 0)
    found = scraped(port)
    assert found['spinal_spool_cases', '90', 'recorded'] == 1.0
    assert found['spinal_spool_cases', '50', 'recorded'] == 1.0
    assert found['spinal_spool_oldest_age_seconds', 'recorded'] == 600.0
    assert found['spinal_spool_bytes', '90', 'recorded'] == SpoolReader(
        spool.root).look().cases[0].bytes
    assert found['spinal_uploader_cap_bytes_per_second',] == 5e7
    assert found['spinal_uploader_outcomes_total', 'sent'] == 0.0
    assert found['spinal_spool_disk_free_bytes',] > 0

    meters.wrote(carrier.step())
    found = scraped(port)
    whole = carrier.running.bytes
    assert found['spinal_uploader_case_bytes',] == whole
    assert 0 < found['spinal_uploader_case_persisted_bytes',] < whole

    bytes_of = {}
    while (step := carrier.step()).did is not Did.NOTHING:
        if carrier.running:
            bytes_of[carrier.running.folder.name] = carrier.running.bytes
        meters.wrote(step)
    meters.wrote(step)
    found = scraped(port)
    assert bytes_of[urgent.name] == whole
    assert rotten.name not in bytes_of
    assert found['spinal_uploader_sent_bytes_total',] == sum(bytes_of.values())
    assert found['spinal_uploader_outcomes_total', 'sent'] == 2.0
    assert found['spinal_uploader_outcomes_total', 'damaged'] == 1.0
    assert found['spinal_uploader_case_bytes',] == 0.0
    assert ('spinal_spool_cases', '90', 'recorded') not in found
    assert found['spinal_spool_cases', '90', 'uploaded'] == 1.0
    assert found['spinal_spool_cases', '10', 'failed'] == 1.0
    assert found['spinal_spool_oldest_age_seconds', 'recorded'] == 0.0


def test_retries_are_counted_by_their_name(client, spool, tmp_path):
    a_case(spool)
    (tmp_path / 'bucket').write_text('a file where the folder should be')
    carrier = Carrier(spool.root, FolderStore(tmp_path / 'bucket'))
    meters = the_meters(carrier)
    for _ in range(3):
        step = carrier.step()
        assert step.did is Did.WAITING
        meters.wrote(step)
    found = scraped(meters.serve('127.0.0.1', 0))
    assert found['spinal_uploader_retries_total',] == 3.0
    assert found['spinal_uploader_failures_in_a_row',] == 3.0
    assert found['spinal_uploader_outcomes_total', step.error.trouble] == 3.0
    assert ('spinal_uploader_cap_bytes_per_second',) not in found


def test_losses_of_the_ring_within_windows_are_told(client, spool, tmp_path):
    folder = a_case(spool)
    path = folder / 'manifest.json'
    path.write_text(path.read_text().replace('"lost_in_ring": 0', '"lost_in_ring": 7')
                    .replace('"complete": true', '"complete": false'))
    port = the_meters(Carrier(spool.root, FolderStore(tmp_path))).serve('127.0.0.1', 0)
    found = scraped(port)
    assert found['spinal_spool_messages_lost_in_ring',] == 21.0      # on each of three topics
    assert found['spinal_spool_incomplete_cases',] == 1.0


def test_a_spool_that_is_not_there_yet_does_not_stop_the_others(client, spool, tmp_path):
    port = the_meters(Carrier(tmp_path / 'later', FolderStore(tmp_path))).serve('127.0.0.1', 0)
    assert scraped(port)['spinal_uploader_outcomes_total', 'sent'] == 0.0


def test_the_command_serves_on_loopback_alone(client, spool, tmp_path):
    a_case(spool)
    process = subprocess.Popen(
        [sys.executable, '-m', 'edge_case_recorder.uploader', '--spool', str(spool.root),
         '--bucket', f'file://{tmp_path}/bucket', '--poll', '0.05', '--metrics', '0'],
        stdout=subprocess.PIPE, text=True)
    try:
        told = re.search(r'http://127\.0\.0\.1:(\d+)/metrics', process.stdout.readline())
        assert told
        for line in process.stdout:
            if 'uploaded' in line:
                break
        # The line comes just before the step is counted.
        limit = time.monotonic() + 10.0
        while not scraped(int(told[1]))['spinal_uploader_outcomes_total', 'sent']:
            assert time.monotonic() < limit
        [case] = cases(spool.root)
        assert case.state is State.UPLOADED
        with socket.socket(socket.AF_INET6) as other, pytest.raises(OSError):
            other.connect(('::1', int(told[1])))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_or_none_is_one_sentence(client, spool, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        for where in (str(taken.getsockname()[1]), '99999', 'here', '127.0.0.1:'):
            assert main(['--spool', str(spool.root), '--bucket', f'file://{tmp_path}/b', '--once',
                         '--metrics', where]) == 2
            error = capsys.readouterr().err
            assert error.startswith(f'uploader: --metrics {where}: ')
            assert error.count('\n') == 1


def test_without_the_library_the_uploader_says_so_and_works_without_meters(
        spool, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'prometheus_client', None)
    monkeypatch.delitem(sys.modules, 'edge_case_recorder.uploading.metrics', raising=False)
    folder = a_case(spool)
    mark(folder, State.UPLOADED, {})
    common = ['--spool', str(spool.root), '--bucket', f'file://{tmp_path}/b', '--once']
    assert main([*common, '--metrics', '0']) == 2
    assert capsys.readouterr().err == (
        'uploader: --metrics 0: the Python package prometheus_client is not installed\n')
    assert main(common) == 0
