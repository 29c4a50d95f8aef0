"""The page of a case: what it says, of a whole case, a hostile one, and one without cameras."""

import html.parser
import io
import json
import math
import re

import numpy as np
import pytest
from making import LATCHED, NOON_NS, SENSOR, S, a_draft, topic
from PIL import Image
from rosbags.typesys import Stores, get_typestore

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter
from edge_case_recorder.bag_messages import BagError
from edge_case_recorder.report import top_view
from edge_case_recorder.report.command import main
from edge_case_recorder.report.frames import thumbnail
from edge_case_recorder.report.page import page
from edge_case_recorder.report.samples import MAX_POINTS, read

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
MS = 1_000_000
START_NS, END_NS = NOON_NS - 2 * S, NOON_NS + S
HOSTILE = '<script>alert(1)</script>'


def make(kind, **fields):
    return TYPES[kind](**fields)


def header(frame=''):
    return make('std_msgs/msg/Header', stamp=make('builtin_interfaces/msg/Time', sec=0, nanosec=0),
                frame_id=frame)


def vector(x=0.0, y=0.0, z=0.0, kind='Vector3'):
    return make(f'geometry_msgs/msg/{kind}', x=x, y=y, z=z)


def a_twist(speed):
    return make('geometry_msgs/msg/TwistStamped', header=header(), twist=make(
        'geometry_msgs/msg/Twist', linear=vector(speed), angular=vector()))


def a_scan(ranges, step=math.pi / 2, frame='laser'):
    return make('sensor_msgs/msg/LaserScan', header=header(frame), angle_min=-math.pi / 2,
                angle_max=0.0, angle_increment=step, time_increment=0.0, scan_time=0.0,
                range_min=0.1, range_max=20.0, ranges=np.array(ranges, np.float32),
                intensities=np.array([], np.float32))


def an_image(width=64, height=48, encoding='rgb8', red=200, size=None):
    data = np.zeros((size if size is not None else width * height * 3), np.uint8)
    data[::3] = red
    return make('sensor_msgs/msg/Image', header=header(), height=height, width=width,
                encoding=encoding, is_bigendian=0, step=width * 3, data=data)


def a_jpeg():
    buffer = io.BytesIO()
    Image.new('RGB', (64, 48), (10, 200, 10)).save(buffer, 'JPEG')
    return make('sensor_msgs/msg/CompressedImage', header=header(), format='jpeg',
                data=np.frombuffer(buffer.getvalue(), np.uint8))


def a_status(name, **values):
    pair = TYPES['diagnostic_msgs/msg/KeyValue']
    return make('diagnostic_msgs/msg/DiagnosticArray', header=header(), status=[make(
        'diagnostic_msgs/msg/DiagnosticStatus', level=0, name=name, message='', hardware_id='',
        values=[pair(key=key, value=value) for key, value in values.items()])])


def a_transform(parent='base_link', child='laser', x=0.3):
    return make('tf2_msgs/msg/TFMessage', transforms=[make(
        'geometry_msgs/msg/TransformStamped', header=header(parent), child_frame_id=child,
        transform=make('geometry_msgs/msg/Transform', translation=vector(x), rotation=make(
            'geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0)))])


def a_footprint():
    corners = ((-0.4, -0.3), (0.4, -0.3), (0.4, 0.3), (-0.4, 0.3))
    marker = make(
        'visualization_msgs/msg/Marker',
        header=header('base_link'), ns='footprint', id=0, type=4, action=0,
        pose=make('geometry_msgs/msg/Pose', position=vector(kind='Point'), orientation=make(
            'geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0)),
        scale=vector(), color=make('std_msgs/msg/ColorRGBA', r=0.0, g=0.0, b=0.0, a=1.0),
        lifetime=make('builtin_interfaces/msg/Duration', sec=0, nanosec=0), frame_locked=False,
        points=[vector(x, y, kind='Point') for x, y in corners], colors=[], texture_resource='',
        texture=make('sensor_msgs/msg/CompressedImage', header=header(), format='',
                     data=np.array([], np.uint8)),
        uv_coordinates=[], text='', mesh_resource='', mesh_use_embedded_materials=False,
        mesh_file=make('visualization_msgs/msg/MeshFile', filename='',
                       data=np.array([], np.uint8)))
    return make('visualization_msgs/msg/MarkerArray', markers=[marker])


def whole():
    """(nanoseconds, topic, message) of a drive that ends in front of somebody."""
    events = [(START_NS, '/tf_static', a_transform()), (START_NS, '/safety/markers', a_footprint())]
    for n in range(61):
        at, moving = START_NS + n * 50 * MS, n < 40
        events += [
            (at, '/policy/cmd_vel', a_twist(0.8 if n != 41 else math.nan)),
            (at, '/cmd_vel', a_twist(0.8 if moving else 0.0)),
            (at, '/scan', a_scan([5.0, 1.2, math.inf])),
            (at, '/camera/front/image_raw', an_image(red=n * 4)),
            (at, '/camera/rear/compressed', a_jpeg()),
            (at, '/safety/state', a_status(
                'safety_reflex', state='RUNNING' if moving else 'STOPPED',
                reasons='' if moving else 'protective_field')),
            (at, '/policy/status', a_status(
                'policy_client', source='triton:desk' if moving else 'hold', staleness_ms='120'))]
    return events


def write_bag(folder, events):
    writer = BagWriter(folder, 'bag', 'zstd')
    added = set()
    for at, name, message in sorted(events, key=lambda event: event[0]):
        kind = message.__msgtype__
        if name not in added:
            added.add(name)
            writer.add_topic(topic(name, kind, LATCHED if name == '/tf_static' else SENSOR))
        writer.write(name, at, at, bytes(STORE.serialize_cdr(message, kind)))
    return writer.close({})


def make_case(folder, events, lost=None, truncated_by='', **changes):
    folder.mkdir()
    summary = write_bag(folder, events)
    told = manifest.complete(a_draft() | changes, folder, summary, lost=lost or {},
                             truncated_by=truncated_by)
    manifest.write(folder, told)
    return folder


class _Elements(html.parser.HTMLParser):
    """What a browser would build: element names, image sources, text."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.images, self.text = [], [], ''
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == 'img':
            self.images.append(dict(attrs)['src'])

    def handle_data(self, data):
        self.text += data


def test_a_whole_case_is_one_file_that_says_everything(tmp_path):
    case = make_case(tmp_path / 'case', whole())
    seen = _Elements(page(case))
    for words in ('window complete', 'robot_7', 'protective_field', 'triton:desk 1',
                  '2026-11-23 12:00:00.000 UTC', '/camera/front/image_raw', 'bag_0.mcap', 'equal',
                  manifest.read(case)['files'][0]['sha256'], f'./dev replay {case}'):
        assert words in seen.text, words
    assert len(seen.images) == 2 + 2 * 6   # timeline, scan, six frames of each camera
    assert all(re.match(r'data:image/(png|jpeg);base64,[A-Za-z0-9+/]+=*$', each)
               for each in seen.images)
    assert 'script' not in seen.tags
    assert 'Not in this bag' not in seen.text


def test_the_nearest_object_is_measured_from_the_outline(tmp_path):
    case = make_case(tmp_path / 'case', whole())
    view = top_view.draw(read(case, NOON_NS))
    # The beam straight ahead ends at 0.3 + 1.2 m of base_link, the outline at 0.4 m.
    assert view.sentences[0].startswith("Nearest object: 1.10 m from the robot's outline, 0°")
    assert view.sentences[1] == '/scan: 2 points, 0 ms before the trigger.'


def test_what_is_sampled_is_the_bag(tmp_path):
    case = make_case(tmp_path / 'case', whole())
    samples = read(case, NOON_NS)
    assert samples.states == [(-2.0, 'RUNNING'), (0.0, 'STOPPED')]
    assert samples.sources == [(-2.0, 'triton:desk'), (0.0, 'hold')]
    assert [frame.at_s for frame in samples.cameras['/camera/front/image_raw']] == [
        -2.0, -1.0, -0.5, 0.0, 0.5, 1.0]
    assert samples.counts['/cmd_vel'].rate_hz == pytest.approx(20.0)
    assert samples.counts['/cmd_vel'].longest_ns == 50 * MS


def test_a_case_that_is_not_whole_says_why(tmp_path):
    case = make_case(tmp_path / 'case', whole(), lost={'/scan': 7}, truncated_by='crash')
    file = case / 'bag_0.mcap'
    told = manifest.read(case)
    told['files'][0]['sha256'] = '0' * 64
    manifest.write(case, told)
    seen = _Elements(page(case))
    assert 'window not complete' in seen.text
    assert 'cut: the recorder was ended by a crash or a power cut' in seen.text
    assert '/scan lost 7 messages' in seen.text
    assert 'DIFFERS' in seen.text
    assert file.is_file()


def test_without_cameras_and_scans_they_are_left_out_by_name(tmp_path):
    case = make_case(tmp_path / 'case', [(NOON_NS + n * MS, '/arm/cmd', a_twist(0.1))
                                         for n in range(10)])
    seen = _Elements(page(case))
    assert len(seen.images) == 1   # the timeline
    for words in ('camera frames (an Image', 'scan (a LaserScan', 'safety state and its reasons'):
        assert words in seen.text.partition('Not in this bag')[2], words


def test_a_bag_of_another_recorder_has_no_trigger_and_says_so(tmp_path):
    write_bag(tmp_path, whole())
    seen = _Elements(page(tmp_path / 'bag_0.mcap'))
    assert 'no manifest' in seen.text
    assert 'second 0 is its middle' in seen.text
    assert 'at the trigger' not in seen.text.partition('What the cameras saw')[2].partition(
        'Replay it')[0]


def test_a_redacted_case_shows_no_frame(tmp_path):
    case = make_case(tmp_path / 'case', whole())
    told = manifest.read(case) | {'redaction': {
        'plugin': 'faces', 'version': '1', 'hides': 'faces', 'topics': ['/a/image_raw'],
        'messages_changed': 3, 'messages_left_out': 0}}
    manifest.check(told, 'case')
    (case / manifest.MANIFEST).write_text(json.dumps(told))
    seen = _Elements(page(case))
    assert not [each for each in seen.images if each.startswith('data:image/jpeg')]
    assert 'This case was redacted, so this page shows none of its camera frames' in seen.text
    assert 'faces' in seen.text


def test_a_hostile_bag_is_shown_as_text_and_within_bounds(tmp_path):
    many = [(START_NS + n * 20_000, '/cmd_vel', a_twist(math.inf if n % 2 else 1e300))
            for n in range(3 * MAX_POINTS)]
    case = make_case(tmp_path / 'case', [
        *many,
        (NOON_NS, f'/{HOSTILE}', a_scan([math.nan, -1.0, math.inf, 0.0], step=math.nan)),
        (NOON_NS, '/b/scan', a_scan([2.0], frame=HOSTILE)),
        (NOON_NS, '/loop/tf_static', a_transform('laser', 'laser', math.inf)),
        (NOON_NS, '/a/image_raw', an_image(2**30, 2**30, size=9)),
        (NOON_NS, '/b/image_raw', an_image(encoding=HOSTILE)),
        (NOON_NS, '/c/safety/state', a_status('x', state='$\\frac', reasons=f'{HOSTILE},$^$')),
        (NOON_NS, '/c/policy/status', a_status('x', source=HOSTILE, staleness_ms='nan')),
    ], robot={'id': 'robot_7', 'type': HOSTILE})
    content = page(case)
    seen = _Elements(content)
    assert 'script' not in seen.tags
    assert HOSTILE in seen.text
    assert 'is no picture' in seen.text
    assert len(content) < 2_000_000
    assert len(read(case, NOON_NS).speeds['/cmd_vel'].points) <= MAX_POINTS + 1


@pytest.mark.parametrize('cut', [0.2, 0.6, 0.95])
def test_a_truncated_bag_is_one_sentence(tmp_path, capsys, cut):
    case = make_case(tmp_path / 'case', whole())
    file = case / 'bag_0.mcap'
    data = file.read_bytes()
    file.write_bytes(data[:int(len(data) * cut)])
    assert main([str(case), '--output', str(tmp_path / 'page.html')]) == 1
    told = capsys.readouterr().err
    assert told.count('\n') == 1
    assert 'not a finished MCAP file' in told
    assert not (tmp_path / 'page.html').exists()


def test_what_cannot_be_read_or_written_is_one_sentence(tmp_path, capsys):
    case = make_case(tmp_path / 'case', whole()[:20])
    for arguments, words in (([str(tmp_path / 'none')], 'no such file'),
                             ([str(tmp_path)], 'name one'),
                             ([str(case), '--output', str(tmp_path)], 'cannot be written')):
        assert main(arguments) == 1
        told = capsys.readouterr().err
        assert words in told
        assert told.count('\n') == 1
    with pytest.raises(BagError, match='name one'):
        page(tmp_path)


@pytest.mark.parametrize(('encoding', 'colour'), [('rgb8', (200, 0, 0)), ('bgr8', (0, 0, 200))])
def test_a_frame_keeps_its_colours(encoding, colour):
    frame = thumbnail(an_image(1280, 960, encoding), 0.0)
    with Image.open(io.BytesIO(frame.jpeg)) as image:
        assert image.size == (320, 240)
        assert np.abs(np.array(image.getpixel((160, 120))) - colour).max() < 12


def test_bytes_that_are_no_picture_say_so():
    message = make('sensor_msgs/msg/CompressedImage', header=header(), format='h264',
                   data=np.zeros(100, np.uint8))
    assert thumbnail(message, 0.0).why == 'neither JPEG, PNG nor WebP'


def test_depth_is_stretched_over_its_own_range():
    depth = np.tile(np.linspace(0.5, 4.0, 64, dtype=np.float32), (48, 1))
    message = make('sensor_msgs/msg/Image', header=header(), height=48, width=64, step=256,
                   encoding='32FC1', is_bigendian=0, data=np.frombuffer(depth.tobytes(), np.uint8))
    with Image.open(io.BytesIO(thumbnail(message, 0.0).jpeg)) as image:
        assert image.getpixel((0, 20)) < 15
        assert image.getpixel((63, 20)) > 240
