"""A bag that a crash cut short, written anew with everything that can still be read.

An unfinished MCAP has no index, so the usual reader finds nothing in it. Read from the front, it
gives every chunk that was flushed; the rest was never on the disk.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml
from mcap.records import Channel, Footer, Message, Schema
from mcap.stream_reader import StreamReader

from edge_case_recorder.bag import BagSummary, BagWriter, TopicInfo
from edge_case_recorder.qos import Qos

_MAX_RECORD_BYTES = 1 << 30


def rebuild(damaged: Path, folder: Path, name: str, compression: str = 'zstd') -> BagSummary:
    """Write the readable part of an MCAP as a whole bag `<folder>/<name>_0.mcap`.

    The same messages, in the same order, with the same times. Never raises for what is in the
    damaged file: an unreadable one makes an empty bag.
    """
    writer = BagWriter(folder, name, compression)
    schemas: dict[int, Schema] = {}
    topics: dict[int, str] = {}
    for record in _readable(damaged):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.schema_id in schemas:
            topics[record.id] = record.topic
            writer.add_topic(_topic(record, schemas[record.schema_id]))
        elif isinstance(record, Message) and record.channel_id in topics:
            writer.write(topics[record.channel_id], record.log_time, record.publish_time,
                         record.data)
    return writer.close({'recovered': 'true'})


def _readable(path: Path) -> Iterator[object]:
    with open(path, 'rb') as file:
        records = iter(StreamReader(file, validate_crcs=True,
                                    record_size_limit=_MAX_RECORD_BYTES).records)
        while True:
            try:
                record = next(records)
            except Exception:   # a torn end makes the reader raise almost anything
                return
            if isinstance(record, Footer):
                return
            yield record


def _topic(channel: Channel, schema: Schema) -> TopicInfo:
    return TopicInfo(channel.topic, schema.name, channel.metadata.get('topic_type_hash', ''),
                     schema.data.decode('utf-8', errors='replace'), _offers(channel))


def _offers(channel: Channel) -> tuple[Qos, ...]:
    try:
        entries = yaml.safe_load(channel.metadata.get('offered_qos_profiles', '')) or []
        return tuple(Qos.from_bag(entry) for entry in entries)
    except (yaml.YAMLError, KeyError, TypeError):
        return ()
