"""A rosbag2 bag as `ros2 bag info` and `play` of Jazzy take it: one MCAP and a metadata.yaml.

Chunks are compressed inside the MCAP, so every reader of MCAP can seek in it. A chunk is closed
and handed to the file at each flush: what was flushed survives a crash (see recovery.py). With a
site's key the MCAP is sealed as it is written (sealing.py), and no plaintext reaches the disk.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

import yaml
from mcap.writer import CompressionType, IndexType, Writer

from edge_case_recorder.digests import DigestedFile
from edge_case_recorder.durable import fsync_file, fsync_folder, write_durably
from edge_case_recorder.qos import Qos
from edge_case_recorder.sealing import SUFFIX, GrowingFile, Key, SealedWriter, seal

METADATA = 'metadata.yaml'
COMPRESSIONS = {'zstd': CompressionType.ZSTD, 'lz4': CompressionType.LZ4,
                'none': CompressionType.NONE}
_LIBRARY = 'spinal edge_case_recorder'
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class TopicInfo:
    """A topic as its publishers describe it.

    type_hash: `RIHS01_` and 64 hex digits, or empty where nobody knows it (readers refuse a wrong
    one). definition: `ros2msg` text, or empty where the package is not installed here.
    """

    name: str
    type: str
    type_hash: str = ''
    definition: str = ''
    qos: tuple[Qos, ...] = ()


@dataclass
class _Written:
    channel: int
    messages: int = 0
    bytes: int = 0


@dataclass
class BagSummary:
    """What a bag holds. Times in ns since the epoch; both 0 when it is empty.

    file: its entry in the manifest (as `manifest.describe` has it) once the bag is closed.
    """

    messages: int = 0
    start_ns: int = 0
    end_ns: int = 0
    topics: dict[str, tuple[TopicInfo, int, int]] = field(default_factory=dict)
    file: dict[str, Any] = field(default_factory=dict)


class BagWriter:
    """Writes `<folder>/<name>_0.mcap`, and metadata.yaml when it is closed. Not thread-safe.

    Once the disk has refused something (OSError), the bag can only be abandoned and recovered.
    With a key the file is `<name>_0.mcap.sealed`; metadata.yaml names it as it is once unsealed.
    """

    def __init__(self, folder: Path, name: str, compression: str = 'zstd',
                 key: Key | None = None) -> None:
        self._folder = folder
        self._file_name = f'{name}_0.mcap'
        self.path = folder / (self._file_name + (SUFFIX if key else ''))
        self._file: GrowingFile = seal(self.path, key) if key else self.path.open('xb')
        fsync_folder(folder)    # the fsync of a new file does not promise its name
        self._digested = DigestedFile(self._file)
        self._writer = Writer(cast(IO[Any], self._digested), chunk_size=_CHUNK_BYTES,
                              index_types=IndexType.ALL, compression=COMPRESSIONS[compression],
                              enable_crcs=True)
        self._writer.start(profile='ros2', library=_LIBRARY)
        self._schemas: dict[tuple[str, str], int] = {}
        self._written: dict[str, _Written] = {}
        self._summary = BagSummary()

    @property
    def messages(self) -> int:
        return self._summary.messages

    def add_topic(self, topic: TopicInfo) -> None:
        """A topic must be known before its first message; a second description is ignored."""
        if topic.name in self._written:
            return
        key = (topic.type, topic.definition)
        if key not in self._schemas:
            self._schemas[key] = self._writer.register_schema(
                topic.type, 'ros2msg' if topic.definition else '', topic.definition.encode())
        channel = self._writer.register_channel(
            topic.name, 'cdr', self._schemas[key], {
                'offered_qos_profiles': _offers(topic.qos),
                'topic_type_hash': topic.type_hash})
        self._written[topic.name] = _Written(channel)
        self._summary.topics[topic.name] = (topic, 0, 0)

    def write(self, topic: str, log_ns: int, publish_ns: int, data: bytes) -> None:
        """log_ns: when it was received; publish_ns: when it was sent, or received if unknown."""
        written, summary = self._written[topic], self._summary
        self._writer.add_message(written.channel, log_ns, data, publish_ns, written.messages)
        written.messages += 1
        written.bytes += len(data)
        summary.start_ns = min(summary.start_ns, log_ns) if summary.messages else log_ns
        summary.end_ns = max(summary.end_ns, log_ns)
        summary.messages += 1

    def flush(self) -> None:
        """Everything written so far is on the disk when this returns."""
        self._writer.flush()
        self._synchronise()

    def close(self, custom_data: Mapping[str, str]) -> BagSummary:
        """Finish the index and write metadata.yaml; both are on the disk when this returns."""
        self._writer.finish()
        self._summary.file = self._digested.entry(self._file_name)
        self._file.close()
        fsync_file(self.path)
        for name, written in self._written.items():
            topic = self._summary.topics[name][0]
            self._summary.topics[name] = (topic, written.messages, written.bytes)
        content = metadata(self._summary, self._file_name, custom_data)
        write_durably(self._folder / METADATA, _dump(content).encode())
        return self._summary

    def _synchronise(self) -> None:
        self._digested.fsync()
        # It is read again much later, if at all: its pages would only push out the robot's own,
        # and every new one costs more than the old one, used again.
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def abandon(self) -> None:
        """Let go of the file as it is, for recovery to find. Never raises: the disk may be full."""
        with contextlib.suppress(OSError):
            if isinstance(self._file, SealedWriter):
                self._file.abandon()
            else:
                self._file.close()


def metadata(summary: BagSummary, file_name: str, custom_data: Mapping[str, str]) -> dict[str, Any]:
    """The content of metadata.yaml, version 9 (rosbag2 0.26, Jazzy): every key is required."""
    starting = {'nanoseconds_since_epoch': summary.start_ns}
    duration = {'nanoseconds': summary.end_ns - summary.start_ns}
    return {'rosbag2_bagfile_information': {
        'version': 9,
        'storage_identifier': 'mcap',
        'duration': duration,
        'starting_time': starting,
        'message_count': summary.messages,
        'topics_with_message_count': [{
            'topic_metadata': {
                'name': topic.name, 'type': topic.type, 'serialization_format': 'cdr',
                'offered_qos_profiles': [qos.to_bag() for qos in topic.qos],
                'type_description_hash': topic.type_hash},
            'message_count': messages,
        } for topic, messages, _ in summary.topics.values()],
        'compression_format': '',
        'compression_mode': '',
        'relative_file_paths': [file_name],
        'files': [{'path': file_name, 'starting_time': starting, 'duration': duration,
                   'message_count': summary.messages}],
        'custom_data': dict(custom_data) or None,
        'ros_distro': 'jazzy',
    }}


# The same text, from libyaml where PyYAML was built with it: this is most of what a case costs.
class _Plain(getattr(yaml, 'CSafeDumper', yaml.SafeDumper)):  # type: ignore[misc]
    """No anchors: yaml-cpp reads them, people do not."""

    def ignore_aliases(self, data: object) -> bool:
        return True


@cache
def _offers(offers: tuple[Qos, ...]) -> str:
    return _dump([qos.to_bag() for qos in offers])


def _dump(content: Any) -> str:
    return yaml.dump(content, Dumper=_Plain, sort_keys=False, default_flow_style=False)
