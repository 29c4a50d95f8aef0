"""The OpenCV example on a real face (NASA, public domain) and a drawn plate."""

import cv2
import numpy as np
import pytest
from redaction_scenes import a_warehouse, covered, tried, with_a_face, with_a_plate
from test_redaction import COMPRESSED, IMAGE, an_image

from edge_case_recorder.redaction import RedactionError, load
from edge_case_recorder.redaction.opencv import OpenCvRedactor
from edge_case_recorder.redaction.pictures import read_raw


def test_upright_faces_of_forty_pixels_and_more_are_found():
    random = np.random.default_rng(1)
    for face_px in (40, 80, 160):
        found, _, scenes = tried(OpenCvRedactor({}), [with_a_face(random, face_px, 0, 1.0)
                                                      for _ in range(8)])
        assert found >= scenes - 1


def test_a_drawn_plate_is_found():
    random = np.random.default_rng(2)
    found, _, scenes = tried(OpenCvRedactor({}), [with_a_plate(random, 160) for _ in range(8)])
    assert found >= scenes - 1


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8'])
def test_a_face_in_a_raw_picture_is_black_and_the_rest_is_as_it_was(encoding):
    picture, box = with_a_face(np.random.default_rng(3), 80, 0, 1.0)
    code = {'rgb8': cv2.COLOR_BGR2RGB, 'rgba8': cv2.COLOR_BGR2RGBA, 'bgra8': cv2.COLOR_BGR2BGRA,
            'mono8': cv2.COLOR_BGR2GRAY}.get(encoding)
    pixels = picture if code is None else cv2.cvtColor(picture, code)
    height, width = pixels.shape[:2]
    data = an_image(pixels.tobytes(), width, height, pixels.nbytes // height, encoding)
    after = read_raw(OpenCvRedactor({}).redact('/c', IMAGE, data)).pixels()
    before = read_raw(data).pixels()
    x, y, size, _ = map(round, box)
    assert not after[y:y + size, x:x + size].any()
    same = (after == before).all(axis=2)
    assert (~same).mean() < 0.2
    assert not after[~same].any()


def test_a_compressed_picture_without_a_find_is_as_it_came():
    picture = np.full((200, 300, 3), 128, np.uint8)
    content = cv2.imencode('.jpg', picture)[1].tobytes()
    head = b'\0\1\0\0' + bytes(8) + b'\4\0\0\0cam\0\4\0\0\0jpg\0'
    data = head + len(content).to_bytes(4, 'little') + content
    assert OpenCvRedactor({}).redact('/c', COMPRESSED, data) == data


def test_the_margin_makes_boxes_larger_within_the_picture():
    picture, box = with_a_face(np.random.default_rng(4), 160, 0, 1.0)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    narrow, wide = (OpenCvRedactor({'margin': margin}).boxes(grey) for margin in ('0', '1'))
    assert covered(box, wide) == 1.0
    assert sum(w * h for _, _, w, h in wide) > 2 * sum(w * h for _, _, w, h in narrow)
    assert all(x >= 0 and y >= 0 and x + w <= 640 and y + h <= 480 for x, y, w, h in wide)


def test_smaller_than_min_size_is_not_looked_for():
    grey = cv2.cvtColor(with_a_face(np.random.default_rng(5), 40, 0, 1.0)[0], cv2.COLOR_BGR2GRAY)
    assert all(w >= 200 for _, _, w, _ in OpenCvRedactor({'min_size': '200'}).boxes(grey))
    assert a_warehouse(np.random.default_rng(5)).shape == (*grey.shape, 3)


@pytest.mark.parametrize(('options', 'sentence'), [
    ({'cascades': '/nowhere.xml'}, '/nowhere.xml: no such cascade file'),
    ({'cascades': __file__}, 'no cascade'), ({'min_size': 'x'}, "min_size = 'x': must be"),
    ({'margin': '9'}, "margin = '9': must be"), ({'whole': 'no'}, 'whole must be true'),
    ({'blur': '1'}, "unknown option 'blur'")])
def test_an_option_that_cannot_be_used_is_one_sentence(options, sentence):
    with pytest.raises(RedactionError) as refusal:
        load('opencv', options)
    assert sentence in str(refusal.value)
    assert '\n' not in str(refusal.value)
