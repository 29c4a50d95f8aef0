from dataclasses import replace

import pytest
from policy_scene import AMR, VOCABULARY, changed, model

from policy_client.embodiment_file import parse
from policy_client.handshake import HandshakeError, TensorSpec, compare


def mismatches(description, **options):
    with pytest.raises(HandshakeError) as error:
        compare(AMR, VOCABULARY, description, **options)
    return error.value.mismatches


def with_tensor(name, datatype, shape):
    fitting = model()
    tensors = [TensorSpec(name, datatype, shape) if one.name == name else one
               for one in (*fitting.inputs, *fitting.outputs)]
    return model(inputs=tuple(tensors[:-1]), outputs=(tensors[-1],))


def test_sizes_come_from_the_model():
    signature = compare(AMR, VOCABULARY, model())
    assert signature.images == {'video.front': (224, 224)}
    assert (signature.tokens, signature.horizon, signature.version) == (16, 16, '1')
    other = with_tensor('action.base_velocity', 'FP32', (1, 40, 2))
    assert compare(AMR, VOCABULARY, other).horizon == 40
    free_batch = with_tensor('video.front', 'UINT8', (-1, 1, 112, 96, 3))
    assert compare(AMR, VOCABULARY, free_batch).images == {'video.front': (112, 96)}


@pytest.mark.parametrize(('name', 'datatype', 'shape', 'words'), [
    ('video.front', 'FP32', (1, 1, 224, 224, 3), 'the model has FP32, the embodiment UINT8'),
    ('video.front', 'UINT8', (1, 2, 224, 224, 3), 'wants 2 steps an observation (T), this'),
    ('state.velocity', 'FP32', (1, 3, 2), 'wants 3 steps an observation (T), this'),
    ('video.front', 'UINT8', (1, 3, 224, 224), 'shape'),
    ('video.front', 'UINT8', (1, 1, -1, 224, 3), 'leaves a size at -1'),
    ('state.velocity', 'FP32', (1, 1, 3), 'the embodiment (1, 1, 2)'),
    ('state.goal', 'FP64', (1, 1, 2), 'FP64'),
    ('annotation.human.task_description', 'BYTES', (1, 1), 'BYTES'),
    ('action.base_velocity', 'FP32', (1, 16, 7), 'shape (1, 16, 7)'),
    ('action.base_velocity', 'FP32', (1, 0, 2), 'size at 0'),
])
def test_each_wrong_tensor_is_named(name, datatype, shape, words):
    found = mismatches(with_tensor(name, datatype, shape))
    assert len(found) == 1
    assert found[0].startswith(f'{name}: ')
    assert words in found[0]


def test_missing_and_surplus_tensors_are_refused_and_not_dropped():
    wanting = (*model().inputs, TensorSpec('state.arm', 'FP32', (1, 1, 7)))
    sending = (*model().outputs, TensorSpec('action.arm', 'FP32', (1, 16, 7)))
    assert mismatches(model(inputs=wanting, outputs=sending)) == (
        'state.arm: the model wants it and amr has no topic for it',
        'action.arm: the model sends it and amr has nothing that it drives')
    assert mismatches(model(inputs=model().inputs[:2])) == (
        'state.goal: the model does not have it',
        'annotation.human.task_description: the model does not have it')


def test_every_mismatch_is_named_at_once():
    found = mismatches(model(parameters={'embodiment': 'gr1', 'action_period_ms': '50',
                                         'modality_sha256': '0'}), version='2')
    assert [text.split(':')[0] for text in found] == [
        'version', 'embodiment', 'action_period_ms', 'modality_sha256']


def test_a_silent_model_is_refused_unless_it_was_chosen_by_path():
    assert len(mismatches(model(parameters={}))) == 3
    assert compare(AMR, VOCABULARY, model(parameters={}), parameters_required=False).horizon == 16
    found = mismatches(model(parameters={'vocabulary_sha256': 'f'}), parameters_required=False)
    assert found[0].startswith('vocabulary_sha256: the model has f, this robot ')


TWO_KEYS = parse(changed(action__lift={
    'interface': 'joints', 'topic': 'policy/joint_trajectory', 'meaning': 'absolute', 'unit': 'm',
    'limits': {'max_velocity': 0.1, 'max_acceleration': 0.5, 'max_jerk': 5.0},
    'joints': {'lift': [0.0, 0.4]}}))


def with_lift(*inputs, lift=(1, 16, 1), **parameters):
    """A model for TWO_KEYS with more inputs and parameters."""
    fitting = model()
    return model(inputs=(*fitting.inputs, *inputs),
                 outputs=(*fitting.outputs, TensorSpec('action.lift', 'FP32', lift)),
                 parameters=parameters)


def compared(description):
    return compare(TWO_KEYS, VOCABULARY, description, parameters_required=False)


def mismatches_of(description):
    with pytest.raises(HandshakeError) as error:
        compared(description)
    return error.value.mismatches


def test_every_action_key_is_an_output_and_the_other_way_round():
    assert compared(with_lift()).horizon == 16
    assert mismatches_of(model(parameters={})) == ('action.lift: the model does not have it',)
    assert mismatches_of(with_lift(lift=(1, 16, 2)))[0].startswith('action.lift: the model has sh')
    assert mismatches_of(with_lift(lift=(1, 8, 1))) == (
        'action: the keys have different numbers of rows (action.base_velocity 16, '
        'action.lift 8)',)


PREFIX = (TensorSpec('rtc.prefix.base_velocity', 'FP32', (1, -1, 2), optional=True),
          TensorSpec('rtc.prefix.lift', 'FP32', (1, -1, 1), optional=True),
          TensorSpec('rtc.prefix_length', 'INT32', (1,), optional=True))


def test_a_prefix_is_all_of_its_inputs_or_none():
    assert not compared(with_lift()).takes_prefix
    assert compared(with_lift(*PREFIX)).takes_prefix
    for left_out in PREFIX:
        rest = [spec for spec in PREFIX if spec is not left_out]
        assert mismatches_of(with_lift(*rest)) == (f'{left_out.name}: the model does not have it',)


@pytest.mark.parametrize(('spec', 'words'), [
    (replace(PREFIX[0], shape=(1, -1, 3)), 'rtc.prefix.base_velocity: the model has shape'),
    (replace(PREFIX[0], shape=(1, 4, 2)), 'the model wants 4 rows, their number must be free'),
    (replace(PREFIX[1], optional=False), 'rtc.prefix.lift: the model requires it'),
    (replace(PREFIX[2], datatype='INT64'), 'rtc.prefix_length: the model has INT64'),
    (replace(PREFIX[2], shape=(1, 1)), 'rtc.prefix_length: the model has shape (1, 1)'),
])
def test_a_prefix_of_another_form_is_named(spec, words):
    specs = [spec if spec.name == one.name else one for one in PREFIX]
    (found,) = mismatches_of(with_lift(*specs))
    assert words in found


def test_an_optional_input_needs_no_topic_and_any_other_does():
    hint = TensorSpec('hint', 'FP32', (1,), optional=True)
    assert compared(with_lift(hint)).horizon == 16
    assert mismatches_of(with_lift(replace(hint, optional=False))) == (
        'hint: the model wants it and amr has no topic for it',)


def test_what_a_model_says_of_a_meaning_must_be_ours():
    assert compared(with_lift(**{'action.lift.meaning': 'absolute'})).horizon == 16
    assert compared(with_lift(**{'action.lift.meaning': 'unknown'})).horizon == 16
    assert mismatches_of(with_lift(**{'action.lift.meaning': 'resolved'})) == (
        'action.lift.meaning: the model has resolved, this robot absolute',)


def test_an_instruction_as_text():
    document = changed()
    document['language']['annotation.human.task_description']['form'] = 'text'
    spoken = parse(document)
    description = with_tensor('annotation.human.task_description', 'BYTES', (1, 1))
    silent = model(inputs=description.inputs, parameters={})
    assert compare(spoken, VOCABULARY, silent, parameters_required=False).tokens == 0
