"""./dev bench fleet, its data: manifests ingested and searched, a case exported to a data set.

Keys: `ingest`, `search_ms`, `export_min_per_gb`. The short form ingests 4,000 manifests of a folder
and exports a case of 90 MB; `--long` 100,000 and 370 MB.
"""

import struct
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from figures import distribution

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.definitions import find_definition
from edge_case_recorder.triggers import Trigger
from flywheel.catalogue import synthetic
from flywheel.catalogue.index import Index
from flywheel.catalogue.ingest import ingest
from flywheel.catalogue.objects import open_objects
from flywheel.catalogue.search import Query, Searcher
from flywheel.dataset.export import Case, export
from flywheel.dataset.labels import Recorded
from isaac_bridge.episode.cdr import Writer
from policy_client import embodiment_file
from policy_client.vocabulary import Vocabulary

_CONFIG = Path(__file__).resolve().parents[2] / 'config'
_QUERIES = (Query(cause='near_miss'), Query(robot='amr-0042'), Query(model='3'),
            Query(text='beam=467 near_miss'), Query(cause='estop', model='triton:amr=3'),
            Query(since=datetime(2026, 10, 1, tzinfo=UTC), until=datetime(2026, 10, 2, tzinfo=UTC)))
_BEGIN_NS = 1_795_435_200_000_000_000
_TYPES = {'odom': 'nav_msgs/msg/Odometry', 'goal_pose': 'geometry_msgs/msg/PoseStamped',
          'task': 'std_msgs/msg/String', 'policy/cmd_vel': 'geometry_msgs/msg/TwistStamped',
          'camera/front/image_raw': 'sensor_msgs/msg/Image'}


def run(*, long: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix='fleet_data_') as folder:
        root = Path(folder)
        return (catalogue(root, 100_000 if long else 4_000)
                | {'export_min_per_gb': exported(root, 400 if long else 100)})


def catalogue(root: Path, count: int) -> dict[str, Any]:
    """Manifests of 2,000 robots in 60 days, in a folder laid out as the bucket is."""
    synthetic.fill(root / 'objects', count)
    index = Index(root / 'index')
    began, used = time.perf_counter(), time.process_time()
    done = ingest(open_objects((root / 'objects').as_uri()), index)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    assert done.added == count, done.refused
    began = time.perf_counter()
    assert ingest(open_objects((root / 'objects').as_uri()), index).added == 0
    again = time.perf_counter() - began
    index.compact()
    searcher, times = Searcher(index), []
    for query in _QUERIES:
        searcher.search(query)
        for _ in range(5):
            began = time.perf_counter()
            searcher.search(query)
            times.append((time.perf_counter() - began) * 1e3)
    searcher.close()
    return {'ingest': {'cases': count, 'seconds': round(seconds, 2),
                       'cpu_seconds': round(used, 2), 'nothing_new_seconds': round(again, 2)},
            'search_ms': distribution(times)}


def exported(root: Path, frames: int) -> float:
    """Minutes a GB of bag: a camera of 640x480 at 10 Hz, to LeRobot v2 at 10 rows a second."""
    case = _case(root / 'case', frames)
    size = sum(path.stat().st_size for path in case.iterdir())
    embodiment = embodiment_file.load(_CONFIG / 'embodiments/amr.yaml')
    words = Vocabulary.load(_CONFIG / 'embodiments/vocabulary.txt')
    began = time.perf_counter()
    done = export([Case(case)], root / 'set', embodiment, words, Recorded(embodiment))
    seconds = time.perf_counter() - began
    assert done.frames >= frames - 2
    return round(seconds / 60.0 / (size / 1e9), 3)


def _case(folder: Path, frames: int) -> Path:
    stamp_ns = _BEGIN_NS + frames * 50_000_000
    trigger = Trigger('safety_stop', 'safety_reflex', 'protective_field', ('protective_field',), 0,
                      frames * 50_000_000, frames * 50_000_000, 80, {})
    draft = manifest.draft(robot_id='amr-0001', robot='amr', trigger=trigger, stamp_ns=stamp_ns,
                           software={}, models={})
    folder.mkdir(parents=True)
    writer = BagWriter(folder, draft['case_id'])
    for name, kind in _TYPES.items():
        writer.add_topic(TopicInfo(f'/{name}', kind, '', find_definition(kind).text))
    for name, at_ns, data in _messages(frames):
        writer.write(f'/{name}', at_ns, at_ns, data)
    manifest.write(folder, manifest.complete(draft, folder, writer.close({}), lost={}))
    return folder


def _messages(frames: int) -> Iterator[tuple[str, int, bytes]]:
    """A straight drive; pictures that move, with a camera's noise, which compresses badly."""
    random, ramp = np.random.default_rng(0), np.arange(640 * 3) // 8
    text = b'drive to the goal\0'
    yield 'task', _BEGIN_NS, b'\0\1\0\0' + struct.pack('<I', len(text)) + text
    yield 'goal_pose', _BEGIN_NS, bytes(Writer(_BEGIN_NS, b'odom').doubles(
        (200.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)).data)
    for k in range(frames * 4):
        at_ns = _BEGIN_NS + k * 25_000_000
        odometry = Writer(at_ns, b'odom').text(b'base_link').doubles(
            (k * 0.0125, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0) + (0.0,) * 36)
        yield 'odom', at_ns, bytes(odometry.doubles((0.5,) + (0.0,) * 41).data)
        yield 'policy/cmd_vel', at_ns, bytes(Writer(at_ns, b'base_link').doubles(
            (0.5,) + (0.0,) * 5).data)
        if k % 4 == 0:
            pixels = (np.roll(ramp, k * 3) + random.integers(0, 8, (480, 640 * 3))).astype(np.uint8)
            picture = Writer(at_ns, b'camera').count(480).count(640).text(b'rgb8')
            picture.data += b'\0'
            picture.count(640 * 3).count(pixels.size)
            yield 'camera/front/image_raw', at_ns, bytes(picture.data + pixels.tobytes())
