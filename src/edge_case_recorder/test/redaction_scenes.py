"""Pictures to try a redactor on: a face or a plate on a drawn warehouse, with the box it is in.

`python test/redaction_scenes.py` prints the recall and the cost that docs/redaction.md quotes.
"""

import time
from pathlib import Path

import cv2
import numpy as np

from edge_case_recorder.redaction.opencv import OpenCvRedactor

WIDTH, HEIGHT = 640, 480
# Of the face itself within astronaut_face.jpg: x, y, width, height.
FACE = (42, 22, 85, 85)


def a_face():
    return cv2.imread(str(Path(__file__).parent / 'pictures' / 'astronaut_face.jpg'))


def a_warehouse(random):
    """Shelves with boxes, a floor, and a sensor's noise: uint8, shape (480, 640, 3)."""
    picture = np.full((HEIGHT, WIDTH, 3), random.integers(90, 190), np.uint8)
    picture[HEIGHT * 2 // 3:] = random.integers(60, 140)
    for level in range(40, HEIGHT * 2 // 3, 90):
        cv2.rectangle(picture, (0, level + 70), (WIDTH, level + 80), (40, 90, 200), -1)
        for left in range(0, WIDTH, 80):
            colour = [int(value) for value in random.integers(60, 200, 3)]
            right, top = left + int(random.integers(30, 75)), level + int(random.integers(0, 40))
            cv2.rectangle(picture, (left, top), (right, level + 70), colour, -1)
            cv2.rectangle(picture, (left, top), (right, level + 70), (30, 30, 30), 1)
    return np.clip(picture + random.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


def with_a_face(random, face_px, degrees, brightness):
    """A picture, and the box of the face in it; face_px: its width in the picture."""
    picture, face = a_warehouse(random), a_face()
    scale = face_px / FACE[2]
    middle = (face.shape[1] / 2, face.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(middle, degrees, scale)
    size = int(max(face.shape[:2]) * scale * 1.5)
    turn[:, 2] += size / 2 - np.array(middle)
    patch = cv2.warpAffine(face, turn, (size, size), flags=cv2.INTER_AREA)
    mask = cv2.warpAffine(np.full(face.shape[:2], 255, np.uint8), turn, (size, size)) > 127
    patch = np.clip(patch * brightness, 0, 255).astype(np.uint8)
    centre = turn @ np.array([FACE[0] + FACE[2] / 2, FACE[1] + FACE[3] / 2, 1.0])
    left = int(random.integers(0, max(1, WIDTH - size)))
    top = int(random.integers(0, max(1, HEIGHT - size)))
    room = picture[top:top + size, left:left + size]
    fits = mask[:room.shape[0], :room.shape[1]]
    room[fits] = patch[:room.shape[0], :room.shape[1]][fits]
    return picture, (left + centre[0] - face_px / 2, top + centre[1] - face_px / 2, face_px,
                     face_px)


def with_a_plate(random, plate_px):
    """A picture, and the box of a plate drawn after the Russian pattern, the cascade's own."""
    picture, height = a_warehouse(random), round(plate_px * 0.215)
    plate = np.full((112, 520, 3), 245, np.uint8)
    cv2.rectangle(plate, (3, 3), (516, 108), (10, 10, 10), 4)
    cv2.line(plate, (395, 3), (395, 108), (10, 10, 10), 4)
    cv2.putText(plate, 'A123BC', (15, 92), cv2.FONT_HERSHEY_SIMPLEX, 3.0, (10, 10, 10), 9)
    cv2.putText(plate, '77', (412, 70), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (10, 10, 10), 7)
    small = cv2.resize(plate, (plate_px, height), interpolation=cv2.INTER_AREA)
    left, top = int(random.integers(0, WIDTH - plate_px)), int(random.integers(0, HEIGHT - height))
    cv2.rectangle(picture, (left - 30, top - 30), (left + plate_px + 30, top + height + 30),
                  (90, 40, 30), -1)
    picture[top:top + height, left:left + plate_px] = small
    return picture, (left, top, plate_px, height)


def covered(box, boxes):
    """The share of `box` that the boxes fill."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for x, y, width, height in boxes:
        mask[y:y + height, x:x + width] = True
    x, y, width, height = map(round, box)
    part = mask[max(y, 0):y + height, max(x, 0):x + width]
    return float(part.mean()) if part.size else 0.0


def tried(redactor, scenes):
    """(found, false boxes, scenes): found is a box filled to 90 % and more."""
    found = strange = 0
    for picture, box in scenes:
        boxes = redactor.boxes(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
        found += covered(box, boxes) >= 0.9
        strange += sum(covered(box, [each]) == 0.0 for each in boxes)
    return found, strange, len(scenes)


def main():
    random = np.random.default_rng(7)
    redactors = {'alt2': 'haarcascade_frontalface_alt2.xml',
                 'default': 'haarcascade_frontalface_default.xml'}
    print('cascade, face px, degrees, brightness: found, false boxes, scenes')
    for name, cascade in redactors.items():
        redactor = OpenCvRedactor({'cascades': cascade})
        totals = np.zeros(3, int)
        for face_px in (24, 40, 80, 160):
            for degrees, brightness in ((0, 1.0), (12, 1.0), (30, 1.0), (0, 0.35), (0, 1.8)):
                scenes = [with_a_face(random, face_px, degrees, brightness) for _ in range(10)]
                result = tried(redactor, scenes)
                totals += result
                print(name, face_px, degrees, brightness, *result)
        print(name, 'all', *totals)
    plates = OpenCvRedactor({'cascades': 'haarcascade_russian_plate_number.xml'})
    for plate_px in (60, 100, 160, 240):
        print('plate', plate_px,
              *tried(plates, [with_a_plate(random, plate_px) for _ in range(10)]))
    both = OpenCvRedactor({})
    for width, height in ((640, 480), (1280, 720), (1920, 1080)):
        grey = cv2.cvtColor(cv2.resize(a_warehouse(random), (width, height)), cv2.COLOR_BGR2GRAY)
        for threads in (1, cv2.getNumberOfCPUs()):
            cv2.setNumThreads(threads)
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(5):
                both.boxes(grey)
            print(f'{width} x {height}, {threads} threads:',
                  f'{(time.perf_counter() - wall) * 200:.0f} ms, processor',
                  f'{(time.process_time() - processor) * 200:.0f} ms')


if __name__ == '__main__':
    main()
