"""Networks with folded norms fire the same spikes."""

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from test_deploy import spikes_of
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from zoo import distinct_architectures

from mmqkformer.deploy import fuse
from mmqkformer.layers import PointwiseRepConv, RepConv
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink
from mmqkformer.neurons import PLIFNeuron, SpikingNeuron


@pytest.mark.parametrize('name', distinct_architectures())
def test_every_architecture_fires_as_before(name):
    torch.manual_seed(0)
    stages = shrink(expand_arch(name), 32)
    model = MODELS.build(dict(type='SpikingBackbone', stages=stages, out='stream', time_steps=2))
    model = model.double()
    side = max(model.strides[-1], 32)
    images = torch.randn(2, 3, side + 1, side + 8, dtype=torch.float64)
    awaken(model, images)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    fused = fuse(model)
    norms = [m for m in fused.modules() if isinstance(m, (_BatchNorm, RepConv, PointwiseRepConv))]
    assert not norms
    spikes, (stream,) = spikes_of(model, images)
    found, (same,) = spikes_of(fused, images)
    assert found.keys() == spikes.keys()
    for key, value in spikes.items():
        assert torch.equal(found[key], value), key
    torch.testing.assert_close(same, stream, rtol=0, atol=1e-9)
    # A product of spikes leaves few
    assert sum(value.any() for value in spikes.values()) > len(spikes) / 2
    assert stream.any() or '-and' in name
    # The model itself is as it was
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(('part', 'kernel'), [(RepConv, 3), (PointwiseRepConv, 1)])
def test_a_rep_conv_is_one_convolution(part, kernel):
    torch.manual_seed(0)
    conv = part(6, dict(type='BN')).double()
    awaken(conv, torch.randn(4, 6, 7, 9, dtype=torch.float64))
    folded = conv.folded()
    assert isinstance(folded, nn.Conv2d)
    assert folded.kernel_size == (kernel, kernel)
    x = torch.randn(2, 6, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(folded(x), conv(x), rtol=0, atol=1e-12)


def test_quantised_weights_are_refused_by_name():
    stages = shrink(expand_arch('qsd-s'), 32)
    neuron = dict(type='MultiSpikeNeuron')
    quant = dict(type='LSQ', bits=4)
    model = MODELS.build(
        dict(type='SpikingBackbone', stages=stages, neuron=neuron, quant=quant, time_steps=1)
    )
    with pytest.raises(ValueError, match=r'^stages\.0\.embed\.convs\.0\.conv: its weights are'):
        fuse(model)


@pytest.mark.parametrize('neuron', ['LIFNeuron', 'PLIFNeuron', 'ILIFNeuron'])
@pytest.mark.parametrize('attention', ['QKTokenAttention', 'SpikingSelfAttention'])
def test_projections_are_one_convolution(attention, neuron):
    torch.manual_seed(0)
    args = dict(num_heads=2, neuron=dict(type=neuron), norm_cfg=dict(type='BN'))
    layer = MODELS.build(dict(type=attention, embed_dims=8, **args)).double()
    x = torch.randint(0, 2, (4, 2, 8, 5, 3)).double()
    for name, module in layer.named_modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.bias, 0.2, 1)
        if isinstance(module, PLIFNeuron):
            # Each its own, so that they cannot fire in one call
            nn.init.constant_(module.w, len(name) / 10)
    expected = layer.eval()(x)
    fused = fuse(layer)
    convs = [module for module in fused.modules() if isinstance(module, nn.Conv2d)]
    assert sorted(conv.out_channels for conv in convs) == [8, 16 if attention[0] == 'Q' else 24]
    assert expected.std() > 0.01
    torch.testing.assert_close(fused(x), expected, rtol=0, atol=1e-12)
    names = {name for name, module in layer.named_modules() if isinstance(module, SpikingNeuron)}
    spikes, same = spikes_of(fused, x)
    assert spikes.keys() == names
    torch.testing.assert_close(same, expected, rtol=0, atol=1e-12)


def test_a_projection_with_something_in_between_stays():
    args = dict(num_heads=2, neuron=dict(type='LIFNeuron'), norm_cfg=dict(type='GN', num_groups=2))
    layer = MODELS.build(dict(type='QKTokenAttention', embed_dims=8, **args))
    fused = fuse(layer)
    assert fused.joined is None
    assert sum(isinstance(module, nn.Conv2d) for module in fused.modules()) == 3
