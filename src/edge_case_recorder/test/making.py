"""What the tests of this package are made from: topics, cases, filled spools."""

import struct
from pathlib import Path

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.definitions import find_definition
from edge_case_recorder.qos import Qos
from edge_case_recorder.spool import Spool
from edge_case_recorder.store import ObjectInfo, Store
from edge_case_recorder.triggers import Trigger
from edge_case_recorder.uploading.trouble import Item

S = 1_000_000_000
NOON_NS = 1_795_435_200_000_000_000   # 2026-11-23 12:00 UTC
LATCHED = Qos(reliability='reliable', durability='transient_local')
SENSOR = Qos(reliability='best_effort')


def topic(name, type_name, *offers):
    definition = find_definition(type_name)
    return TopicInfo(name, type_name, definition.type_hash, definition.text, offers or (Qos(),))


SCAN = topic('/scan', 'sensor_msgs/msg/LaserScan', SENSOR)
TASK = topic('/task', 'std_msgs/msg/String', LATCHED)
ODOM = topic('/odom', 'nav_msgs/msg/Odometry', SENSOR, Qos())


def string_cdr(text):
    """A std_msgs/String, serialized: little-endian CDR."""
    data = text.encode() + b'\0'
    return b'\x00\x01\x00\x00' + struct.pack('<I', len(data)) + data


def a_trigger(cause='protective_field', now_ns=100 * S, before_s=5.0, after_s=2.0, priority=80):
    return Trigger('safety_stop', 'safety_reflex', cause, (cause,), now_ns, int(before_s * S),
                   int(after_s * S), priority, {'state': 'STOPPED', 'zone': 'front'})


def a_draft(cause='protective_field', stamp_ns=NOON_NS, priority=80, robot_id='robot_7'):
    return manifest.draft(robot_id=robot_id, robot='amr',
                          trigger=a_trigger(cause, priority=priority), stamp_ns=stamp_ns,
                          software={'edge_case_recorder': '0.1.0'}, models={'triton:desk': '1'})


def fill(writer, count, start_ns=NOON_NS, size=0):
    """Messages on three topics; returns them as (topic, log_ns, data)."""
    for each in (SCAN, TASK, ODOM):
        writer.add_topic(each)
    written = []
    for number in range(count):
        name = ('/scan', '/task', '/odom')[number % 3]
        data = string_cdr(f'{number}') + bytes(size)
        writer.write(name, start_ns + number * 1_000_000, start_ns, data)
        written.append((name, start_ns + number * 1_000_000, data))
    return written


def a_case(spool: Spool, cause='protective_field', stamp_ns=NOON_NS, messages=30, size=100,
           priority=80) -> Path:
    """A recorded case in the spool; returns its folder."""
    draft = a_draft(cause, stamp_ns, priority)
    folder = spool.begin(draft)
    writer = BagWriter(folder, draft['case_id'], 'none', spool.key)
    fill(writer, messages, stamp_ns, size)
    summary = writer.close({})
    return spool.commit(folder, manifest.complete(draft, folder, summary, lost={},
                                                  keys=spool.keys))


def an_open_spool(root, **settings):
    spool = Spool(root, settings.pop('min_free_bytes', 0), **settings)
    spool.open()
    return spool


def an_item(name: str, path: Path) -> Item:
    """A file as an object to be."""
    found = manifest.describe(path)
    return Item(name, path, found['bytes'], found['crc32c'], 'application/octet-stream')


def put(store: Store, name: str, path: Path) -> ObjectInfo:
    """Send a file whole; what the store then has under the name."""
    sending = store.sending(an_item(name, path))
    while (found := sending.step()) is None:
        pass
    return found
