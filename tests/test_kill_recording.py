"""A few kills of the recorder at random, a few at steps of the disk; and the checks themselves."""

import json

import kill_checks
import kill_recording
import pytest

from edge_case_recorder.spool import State, cases


def _holds(figures):
    assert not figures['problems'], json.dumps(figures, indent=1)
    assert figures['recovery_s_max'] < 5.0   # the stated deadline


def test_kills_at_random_lose_nothing_that_was_promised(tmp_path):
    figures = kill_recording.kill_at_random(tmp_path, kills=8, seed=3)
    _holds(figures)
    assert figures['tried'] == 8
    # A recorder that never recorded, or never left anything behind, would prove nothing.
    assert figures['checked'] > 5
    assert figures['recovered'] > 0


def test_kills_at_steps_lose_nothing_that_was_promised(tmp_path):
    figures = kill_recording.kill_at_steps(tmp_path, seed=4, every=23)
    _holds(figures)
    assert figures['tried'] >= 5
    assert figures['checked'] > 5


@pytest.fixture
def a_campaign(tmp_path):
    """Two finished cases in a spool, and what was promised of them."""
    campaign = kill_recording.Campaign(tmp_path, seed=5)
    life = campaign._begin(rounds=1)
    assert life.until('ended', 30.0)
    life.kill()
    campaign.found.look(campaign.root, campaign.promises)
    assert not campaign.figures()['problems']
    return campaign


def _looked_at_anew(campaign):
    found = kill_checks.Found()
    found.look(campaign.root, campaign.promises)
    return found


def test_a_bag_that_was_changed_is_found(a_campaign):
    [path, *_] = a_campaign.root.glob('*/*.mcap')
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert 'differs from the manifest' in _looked_at_anew(a_campaign).unreadable[0]


def test_a_case_that_is_gone_is_found(a_campaign):
    case = next(each for each in cases(a_campaign.root) if each.state is State.RECORDED)
    case.folder.rename(a_campaign.root.parent / 'gone')
    assert 'announced, and is not there' in _looked_at_anew(a_campaign).lost[0]


def test_a_case_that_is_there_twice_is_found(a_campaign):
    case = cases(a_campaign.root)[0]
    (a_campaign.root / (case.id + '.partial')).mkdir()
    assert case.id in _looked_at_anew(a_campaign).duplicates[0]


def test_a_flushed_message_that_is_missing_is_found(a_campaign):
    case = next(each.id for each in cases(a_campaign.root))
    a_campaign.promises.flushed[case][10 ** 6] = 0
    assert '1000000 messages were flushed' in _looked_at_anew(a_campaign).lost[0]
