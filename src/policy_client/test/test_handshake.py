import pytest
from policy_scene import AMR, VOCABULARY, changed, model

from policy_client.embodiment import parse
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
    ('video.front', 'UINT8', (1, 2, 224, 224, 3), 'shape (1, 2, 224, 224, 3)'),
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


def test_an_instruction_as_text():
    document = changed()
    document['language']['annotation.human.task_description']['form'] = 'text'
    spoken = parse(document)
    description = with_tensor('annotation.human.task_description', 'BYTES', (1, 1))
    silent = model(inputs=description.inputs, parameters={})
    assert compare(spoken, VOCABULARY, silent, parameters_required=False).tokens == 0
