"""One bag through readers that nobody here wrote, each brought to the same form."""

import dataclasses
import hashlib
import json
import math
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

READ = Path(__file__).with_name('read.mjs')
SHOWN_BYTES = 4096   # of read.mjs


@dataclass(frozen=True)
class Message:
    """publish_ns: None where the reader does not tell. sha256 of the serialized bytes."""

    topic: str
    log_ns: int
    publish_ns: int | None
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Channel:
    """type_hash, definition_sha256: empty text's where the bag has none. offers: YAML, parsed."""

    type: str
    type_hash: str
    definition_sha256: str
    offers: Any
    messages: int


@dataclass
class Seen:
    """decoded: a message as plain lists, dicts, numbers; None where it is larger than
    SHOWN_BYTES or has no definition.
    encoded: the digest of what the reader's own library makes of the decoded message again."""

    messages: list[Message] = field(default_factory=list)
    channels: dict[str, Channel] = field(default_factory=dict)
    decoded: list[Any] = field(default_factory=list)
    encoded: list[str | None] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def by_rosbags(folder: Path) -> Seen:
    """more: also the type hashes that rosbags computes from the definitions in the bag."""
    seen = Seen()
    hashes = {}
    with Reader(folder) as reader:
        stores = {}
        for each in reader.connections:
            text = each.msgdef.data
            seen.channels[each.topic] = Channel(
                each.msgtype, each.digest, sha256(text.encode()),
                [_offer(offer) for offer in each.ext.offered_qos_profiles], each.msgcount)
            if text:
                stores[each.topic] = get_typestore(Stores.EMPTY)
                stores[each.topic].register(get_types_from_msg(text, each.msgtype))
                hashes[each.topic] = stores[each.topic].hash_rihs01(each.msgtype)
        for each, log_ns, raw in reader.messages():
            data = bytes(raw)
            seen.messages.append(Message(each.topic, log_ns, None, len(data), sha256(data)))
            store = stores.get(each.topic)
            message = store and store.deserialize_cdr(data, each.msgtype)
            seen.decoded.append(plain(message) if message and len(data) <= SHOWN_BYTES else None)
            seen.encoded.append(message and sha256(bytes(
                store.serialize_cdr(message, each.msgtype))))
        seen.more = {'messages': reader.message_count, 'start_ns': reader.start_time,
                     'end_ns': reader.end_time, 'hashes': hashes}
    return seen


def by_mcap(folder: Path) -> Seen:
    """Through the index, with every checksum."""
    seen = Seen()
    [path] = folder.glob('*.mcap')
    with open(path, 'rb') as file:
        reader = make_reader(file, validate_crcs=True)
        summary, header = reader.get_summary(), reader.get_header()
        counts = summary.statistics.channel_message_counts
        for each in summary.channels.values():
            schema = summary.schemas[each.schema_id]
            seen.channels[each.topic] = Channel(
                schema.name, each.metadata['topic_type_hash'], sha256(schema.data),
                yaml.safe_load(each.metadata['offered_qos_profiles']), counts.get(each.id, 0))
        for _, each, message in reader.iter_messages():
            seen.messages.append(Message(each.topic, message.log_time, message.publish_time,
                                         len(message.data), sha256(message.data)))
        seen.more = {'profile': header.profile, 'library': header.library,
                     'compressions': {index.compression for index in summary.chunk_indexes},
                     'chunks': len(summary.chunk_indexes),
                     'messages': summary.statistics.message_count}
    return seen


def by_npm(folder: Path, node_folder: Path) -> Seen:
    """@mcap/core, Foxglove's decoder of ROS 2 messages, and npm's yaml."""
    seen = Seen()
    done = subprocess.run(['node', str(READ), str(node_folder), str(folder)], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        row = json.loads(line)
        match row.pop('kind'):
            case 'channel':
                seen.channels[row['topic']] = Channel(
                    row['schema'], row['metadata']['topic_type_hash'], row['schemaSha256'],
                    row['offers'], row['messages'])
                seen.more.setdefault('encodings', {})[row['topic']] = (
                    row['messageEncoding'], row['schemaEncoding'])
            case 'message':
                seen.messages.append(Message(row['topic'], int(row['log']), int(row['publish']),
                                             row['bytes'], row['sha256']))
                seen.decoded.append(row.get('decoded'))
                seen.encoded.append(row.get('encodedSha256'))
            case 'metadata':
                seen.more['metadata'] = row['content']
            case 'header':
                seen.more |= {'profile': row['profile'], 'library': row['library']}
            case 'end':
                seen.more['messages'] = int(row['messages'])
    return seen


def plain(value: Any) -> Any:
    """A message of rosbags in the form of read.mjs; a time's `nanosec` is `nsec` there."""
    if dataclasses.is_dataclass(value):
        return {('nsec' if each.name == 'nanosec' else each.name): plain(getattr(value, each.name))
                for each in dataclasses.fields(value)
                if each.default is dataclasses.MISSING}   # constants and the type's name have one
    if isinstance(value, list | np.ndarray):
        return [plain(each) for each in value]
    if isinstance(value, float | np.floating):
        number = float(value)
        if math.isfinite(number):
            return number
        return 'NaN' if math.isnan(number) else 'Infinity' if number > 0 else '-Infinity'
    return value.item() if isinstance(value, np.generic) else value


def _offer(offer: Any) -> dict[str, Any]:
    """An offer as rosbags parsed it, in the words of the bag."""
    return {name: value._asdict() if hasattr(value, '_asdict')
            else value.name.lower() if hasattr(value, 'name') else value
            for name, value in offer._asdict().items()}
