"""Who may speak on a protected topic."""

from safety_reflex.publishers import Publishers
from safety_reflex.reasons import Reason

OWN, OTHER = b'o' * 12 + b'\x01\x02\x03\x04', b'x' * 12 + b'\x01\x02\x03\x04'
SCANNER, ROGUE = b's' * 16, b'r' * 16


def test_an_output_is_ours_alone_however_many_there_are():
    seen = Publishers(b'o' * 12)
    seen.output('cmd_vel', [OWN])
    assert seen.reasons() == set()
    seen.output('cmd_vel', [OWN, OTHER])
    assert seen.reasons() == {Reason.SECOND_PUBLISHER}
    assert seen.topics() == ['cmd_vel']
    seen.output('cmd_vel', [OTHER])          # one publisher, and the wrong one
    assert seen.reasons() == {Reason.SECOND_PUBLISHER}
    seen.output('cmd_vel', [OWN])
    assert seen.reasons() == set()


def test_an_input_belongs_to_who_was_there_first():
    seen = Publishers(b'o' * 12)
    seen.input('scan', [])
    seen.input('scan', [SCANNER])
    assert seen.reasons() == set()
    seen.input('scan', [SCANNER, ROGUE])
    assert seen.reasons() == {Reason.SECOND_PUBLISHER}
    seen.input('scan', [ROGUE])
    assert seen.reasons() == {Reason.PUBLISHER_REPLACED}
    seen.input('scan', [ROGUE])              # told once; the latch keeps it
    assert seen.reasons() == set()
