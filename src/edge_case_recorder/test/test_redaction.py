"""Redaction: what is hidden is nowhere on the disk, and a plug-in that fails lets nothing through.
"""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import SENSOR, S, a_draft, a_trigger, an_open_spool, topic

from edge_case_recorder import manifest
from edge_case_recorder.recording import Recording
from edge_case_recorder.redaction import COMPRESSED, IMAGE, RedactionError, Redactor, load
from edge_case_recorder.redaction.guard import Complaints, Guard
from edge_case_recorder.redaction.opencv import OpenCvRedactor
from edge_case_recorder.redaction.pictures import MAX_PIXELS, PictureError, check_compressed
from edge_case_recorder.ring import Ring

MARK = bytes(range(60, 108))
CAMERA = topic('/camera/image_raw', IMAGE, SENSOR)


def an_image(content, width, height, step, encoding='rgb8'):
    text = encoding.encode() + b'\0'
    body = struct.pack('<iII', 1, 2, 4) + b'cam\0' + struct.pack('<III', height, width, len(text))
    body += text + b'\0'
    body += bytes(-len(body) % 4) + struct.pack('<II', step, len(content)) + content
    return b'\0\1\0\0' + body


def marked():
    return an_image(MARK * 16, 16, 16, 48)


class Raises(Redactor):
    name = version = hides = 'x'

    def redact(self, topic, type_name, data):
        raise RuntimeError('no')


class Nonsense(Raises):
    def redact(self, topic, type_name, data):
        return data.hex()


class CoversBadly(Raises):
    def covers(self, topic, type_name):
        raise KeyError(topic)


def on_disk(root):
    return b''.join(path.read_bytes() for path in root.rglob('*') if path.is_file())


def record(root, redactor):
    spool, ring = an_open_spool(root), Ring(60 * S)
    ring.add_topic(CAMERA.name, 10_000_000, 0)
    for number in range(5):
        ring.append(CAMERA.name, (96 + number) * S, marked())
    trigger = a_trigger()
    recording = Recording(trigger, ring.open_window(95 * S), a_draft(), ring, spool,
                          {CAMERA.name: CAMERA}, 'none',
                          guard=Guard(redactor) if redactor else None)
    recording.advance(103 * S)
    return spool, recording


def test_the_marker_is_seen_on_the_disk_without_redaction(tmp_path):
    spool, recording = record(tmp_path, None)
    recording.finish()
    assert MARK in on_disk(tmp_path)
    spool.close()


def test_nothing_hidden_is_on_the_disk_and_the_case_says_so(tmp_path):
    spool, recording = record(tmp_path, OpenCvRedactor({'whole': 'true'}))
    assert MARK not in on_disk(tmp_path)
    told = recording.finish()
    assert MARK not in on_disk(tmp_path)
    assert told['redaction']['messages_changed'] == told['messages'] == 5
    assert told['redaction']['topics'] == [CAMERA.name]
    assert told['window']['complete']
    spool.close()


def test_a_case_recovered_after_a_crash_is_redacted_and_says_so(tmp_path):
    spool, recording = record(tmp_path, OpenCvRedactor({'whole': 'true'}))
    recording.abandon()
    spool.close()
    spool = an_open_spool(tmp_path)
    told, = spool.recover()
    assert told['redaction']['plugin'] == 'opencv'
    assert told['redaction']['messages_changed'] is None
    assert told['messages'] == 5
    assert MARK not in on_disk(tmp_path)
    spool.close()


class Panics(Raises):
    def redact(self, topic, type_name, data):
        raise SystemExit('not an Exception, as a panic of a module in Rust is none')


@pytest.mark.parametrize('kind', [Raises, Nonsense, CoversBadly, Panics])
def test_a_failing_plugin_lets_nothing_through(tmp_path, kind):
    spool, recording = record(tmp_path, kind({}))
    told = manifest.check(recording.finish(), 'case')
    assert told['redaction']['messages_failed'] == 5
    assert told['redaction']['messages_left_out'] == 0
    assert told['messages'] == 0
    assert not told['window']['complete']
    assert MARK not in on_disk(tmp_path)
    spool.close()


class LeavesOut(Raises):
    def redact(self, topic, type_name, data):
        return None


def test_what_is_left_out_on_purpose_is_no_failure(tmp_path):
    spool, recording = record(tmp_path, LeavesOut({}))
    told = recording.finish()['redaction']
    assert (told['messages_left_out'], told['messages_failed']) == (5, 0)
    spool.close()


def test_a_failing_plugin_is_complained_of_once_a_topic_and_a_minute():
    said, clock = [], [0]
    complaints = Complaints(said.append, lambda: clock[0])
    for _ in range(3):   # three cases
        guard = Guard(Raises({}), complaints)
        for name in ('/a', '/a', '/b'):
            guard.pass_on(name, IMAGE, marked())
    assert said == [f'{name}: redaction fails, its messages are left out: RuntimeError'
                    for name in ('/a', '/b')]
    clock[0] = 60 * S
    Guard(Raises({}), complaints).pass_on('/a', IMAGE, marked())
    assert len(said) == 3


def test_a_picture_of_too_many_pixels_is_not_decoded():
    picture = bytearray(cv2.imencode('.png', np.zeros((4, 4), np.uint8))[1].tobytes())
    struct.pack_into('>II', picture, 16, MAX_PIXELS, 2)
    picture[29:33] = struct.pack('>I', zlib.crc32(bytes(picture[12:29])))
    with pytest.raises(PictureError):
        check_compressed(bytes(picture))
    assert Guard(OpenCvRedactor({'whole': 'true'})).pass_on(
        '/c', IMAGE, an_image(b'', 1 << 31, 1 << 31, 0)) is None


@given(st.binary(max_size=300))
def test_bytes_that_are_no_picture_are_left_out(data):
    guard = Guard(OpenCvRedactor({'whole': 'true'}))
    assert guard.pass_on('/c', COMPRESSED, data) is None
    assert guard.pass_on('/c', IMAGE, data) is None


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_compressed_picture_is_filled_in_its_own_format(suffix):
    picture = cv2.imencode(suffix, np.full((20, 30, 3), 200, np.uint8))[1].tobytes()
    before = b'\0\1\0\0' + struct.pack('<iII', 1, 2, 4) + b'cam\0' + struct.pack('<I', 4) + b'jpg\0'
    data = before + struct.pack('<I', len(picture)) + picture
    kept = Guard(OpenCvRedactor({'whole': 'true'})).pass_on('/c', COMPRESSED, data)
    content = kept[len(before) + 4:]
    assert content[:3] == picture[:3]
    assert not cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).any()


@pytest.mark.parametrize('name', ['nothing_here', 'no.module:X', 'os:getcwd'])
def test_a_plugin_that_cannot_be_loaded_is_one_sentence(name):
    with pytest.raises(RedactionError, match=f'parameter redaction: .{name}. cannot be loaded'):
        load(name, {})
