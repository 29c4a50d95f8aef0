"""Records marked pictures until it is killed: `SPOOL redacted|plain [KEY]`; a line each flush."""

import sys
from pathlib import Path

from making import S, a_draft, a_trigger, an_open_spool
from test_redaction import CAMERA, marked

from edge_case_recorder.recording import Recording
from edge_case_recorder.redaction.guard import Guard
from edge_case_recorder.redaction.opencv import OpenCvRedactor
from edge_case_recorder.ring import Ring
from edge_case_recorder.sealing import Key

spool = an_open_spool(Path(sys.argv[1]), key=Key.read(sys.argv[3]) if len(sys.argv) > 3 else None)
ring = Ring(60 * S)
ring.add_topic(CAMERA.name, 10_000_000, 0)
guard = Guard(OpenCvRedactor({'whole': 'true'})) if sys.argv[2] == 'redacted' else None
recording = Recording(a_trigger(now_ns=100 * S, after_s=1e6), ring.open_window(95 * S), a_draft(),
                      ring, spool, {CAMERA.name: CAMERA}, 'zstd', guard=guard)
now_ns = 96 * S
while True:
    for _ in range(20):
        now_ns += S // 100
        ring.append(CAMERA.name, now_ns, marked())
    recording.advance(now_ns)
    print('flushed', flush=True)
