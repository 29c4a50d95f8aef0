"""A bag that a crash cut short, written anew with everything that can still be read.

An unfinished MCAP has no index, so the usual reader finds nothing in it. Read from the front, it
gives every chunk that was flushed; the rest was never on the disk. What was sealed is written
sealed again, what was plain stays plain.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import yaml
from mcap.records import Channel, Footer, Message, Schema

from edge_case_recorder.bag import BagSummary, BagWriter, TopicInfo
from edge_case_recorder.chunks import in_file_order
from edge_case_recorder.qos import Qos
from edge_case_recorder.sealing import SUFFIX, Key, SealError, check_key, unseal


def rebuild(damaged: Path, folder: Path, name: str, compression: str = 'zstd',
            key: Key | None = None,
            custom_data: Mapping[str, str] | None = None) -> BagSummary:
    """Write the readable part of an MCAP as a whole bag `<folder>/<name>_0.mcap`.

    The same messages, in the same order, with the same times. Never raises for what is in the
    damaged file: an unreadable one makes an empty bag. Raises OSError for the disk: what cannot be
    read now is not given up.
    key: of a sealed file; raises NoKeyError, before anything is written, when it is not its own.
    """
    is_sealed = damaged.suffix == SUFFIX
    if is_sealed:
        check_key(damaged, [key] if key else [])
    writer = BagWriter(folder, name, compression, key if is_sealed else None)
    schemas: dict[int, Schema] = {}
    topics: dict[int, str] = {}
    try:
        for record in _readable(damaged, key):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel) and record.schema_id in schemas:
                topics[record.id] = record.topic
                writer.add_topic(_topic(record, schemas[record.schema_id]))
            elif isinstance(record, Message) and record.channel_id in topics:
                writer.write(topics[record.channel_id], record.log_time, record.publish_time,
                             record.data)
        return writer.close({**(custom_data or {}), 'recovered': 'true'})
    except BaseException:
        writer.abandon()
        raise


def _opened(path: Path, key: Key | None) -> IO[bytes]:
    if key and path.suffix == SUFFIX:
        return io.BufferedReader(unseal(path, [key], torn=True))
    return open(path, 'rb')


def _readable(path: Path, key: Key | None) -> Iterator[object]:
    try:
        opened = _opened(path, key)
    except SealError:
        return      # not even its beginning was on the disk
    with opened as file:
        records = in_file_order(file)
        while True:
            try:
                record = next(records)
            except OSError:
                raise   # of the disk: what is behind it may be read another time
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
    except Exception:   # YAML's dates, depth and aliases fail in many ways; a bag plays without
        return ()
