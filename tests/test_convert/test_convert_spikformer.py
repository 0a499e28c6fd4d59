"""Spikformer's release: parameters and layers as its repository's models have them."""

import pytest
from releases import build_model, parameters_of, released_keys, spikformer_events_keys, zeros

from mmqkformer.convert import UnknownCheckpointError, convert_state_dict


def test_the_event_models_keys_are_as_many_parameters_as_measured():
    keys = spikformer_events_keys()
    assert parameters_of(keys) == 2_585_610
    used = {name: shape for name, shape in keys.items() if 'norm' not in name}
    del used['pos_embed']
    model = build_model('spikformer', 'spikformer-2-256_cifar10dvs')
    assert parameters_of(used) == 2_566_666 == sum(p.numel() for p in model.parameters())


def test_cmls_keys_are_as_many_parameters_as_measured():
    assert parameters_of(released_keys('spikformer', 'cml-spikformer-4-384_cifar10')) == 9_330_874


def test_linear_layers_become_convolutions_and_the_classifier_stays():
    keys = released_keys('spikformer', 'spikformer-4-384_cifar100')
    assert keys['block.3.attn.q_linear.weight'] == [384, 384]
    state = convert_state_dict(zeros(keys))[1]
    query = state['backbone.stages.0.blocks.3.attention.query.conv.weight']
    assert query.shape == (384, 384, 1, 1)
    assert state['head.fc.weight'].shape == (100, 384)


@pytest.mark.parametrize('form', ['spikformer-4-384_cifar100', 'spikformer-2-256_cifar10dvs'])
def test_a_block_without_one_of_its_biases_is_refused(form):
    released = zeros(released_keys('spikformer', form))
    name = next(key for key in released if 'attn.proj_' in key and key.endswith('.bias'))
    del released[name]
    with pytest.raises(UnknownCheckpointError, match=r'1 weights of the spikformer family'):
        convert_state_dict(released)
