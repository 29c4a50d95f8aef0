"""Words, ids, and the speed they ask for."""

from pathlib import Path

import numpy as np
import pytest

from flywheel.amr_policy import language, wire

ROOT = Path(__file__).resolve().parents[3]


def test_the_vocabulary_file_means_what_the_network_learned():
    language.check_vocabulary(ROOT / wire.VOCABULARY)


def test_a_shorter_vocabulary_is_allowed(tmp_path):
    path = tmp_path / 'vocabulary.txt'
    path.write_text('\n'.join(language.VOCABULARY[:9]) + '\n', encoding='utf-8')
    language.check_vocabulary(path)


@pytest.mark.parametrize(('words', 'message'), [
    ((*language.VOCABULARY[:5], 'halt'), "line 6: 'halt' where the network learned 'goal'"),
    ((*language.VOCABULARY, 'extra'), 'train again')])
def test_a_vocabulary_with_other_ids_is_refused(tmp_path, words, message):
    path = tmp_path / 'vocabulary.txt'
    path.write_text('\n'.join(words) + '\n', encoding='utf-8')
    with pytest.raises(ValueError, match=message):
        language.check_vocabulary(path)


def test_tokens_are_line_numbers_padded_with_zero():
    tokens = language.tokenise('Drive, XYZ the goal!')
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [2, language.UNKNOWN, 4, 5] + [language.PAD] * 12


@pytest.mark.parametrize(('text', 'speed'), [
    *language.INSTRUCTIONS.items(),
    ('please go carefully towards the target', 0.4), ('proceed straight to the station', 0.8),
    ('do not drive to the goal', 0.0), ('stop', 0.0), ('', 0.0), ('the goal', 0.0),
    ('drive to the kitchen', 0.0)])
def test_cruise_fails_closed(text, speed):
    assert language.cruise_mps(language.words_of(text)) == speed


def test_samples_hold_every_speed_and_agree_with_the_rule():
    tokens, cruise = language.sample_instructions(500, np.random.default_rng(0))
    assert {round(float(speed), 3) for speed in cruise} == {0.0, 0.4, 0.8}
    for row, speed in zip(tokens, cruise, strict=True):
        words = [language.VOCABULARY[i] for i in row if i]
        assert language.cruise_mps(words) == pytest.approx(float(speed))
