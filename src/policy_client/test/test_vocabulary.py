import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_scene import VOCABULARY

from policy_client.vocabulary import PAD, UNKNOWN, Vocabulary, VocabularyError


def test_an_instruction_becomes_ids_by_line_number():
    words = Vocabulary(('<pad>', '<unknown>', 'drive', 'to', 'the', 'goal'))
    assert words.encode('Drive, to THE goal!', 6).tolist() == [2, 3, 4, 5, PAD, PAD]
    assert words.encode('fly to the goal', 4).tolist() == [UNKNOWN, 3, 4, 5]
    assert words.unknown('fly to the moon') == ['fly', 'moon']


@pytest.mark.parametrize('text', ['drive to the goal', 'drive slowly to the goal', 'wait here'])
def test_the_instructions_of_the_contract_are_known(text):
    assert VOCABULARY.unknown(text) == []


def test_the_file_is_what_the_network_was_trained_with(model_onnx):
    import onnxruntime
    session = onnxruntime.InferenceSession(str(model_onnx), providers=['CPUExecutionProvider'])
    metadata = session.get_modelmeta().custom_metadata_map
    if metadata:  # the stand-in was taught nothing
        assert metadata['vocabulary_sha256'] == VOCABULARY.sha256
        assert metadata['vocabulary'].splitlines() == list(VOCABULARY.words)


def test_too_long_an_instruction_is_refused():
    with pytest.raises(VocabularyError, match='has 5 words, the model takes 4'):
        VOCABULARY.encode('drive to the goal now', 4)
    with pytest.raises(VocabularyError, match='characters'):
        VOCABULARY.encode('a' * 5000, 16)


@pytest.mark.parametrize(('lines', 'message'), [
    ('drive\nto', 'begins with'),
    ('<pad>\n<unknown>\nDrive', "line 2: 'Drive' is not one lower-case word"),
    ('<pad>\n<unknown>\ntwo words', 'is not one lower-case word'),
    ('<pad>\n<unknown>\ngo\ngo', "line 3: 'go' is on line 2 already"),
    ('<pad>\n<unknown>\n\ngo', 'line 2'),
])
def test_a_broken_file_is_named_with_its_line(tmp_path, lines, message):
    path = tmp_path / 'words.txt'
    path.write_text(lines)
    with pytest.raises(VocabularyError, match=r'words\.txt') as error:
        Vocabulary.load(path)
    assert message in str(error.value)


@given(st.text(max_size=200))
def test_any_text_gives_ids_of_the_vocabulary_or_a_clear_error(text):
    try:
        tokens = VOCABULARY.encode(text, 16)
    except VocabularyError:
        return
    assert tokens.shape == (16,)
    assert ((tokens >= 0) & (tokens < len(VOCABULARY.words))).all()
