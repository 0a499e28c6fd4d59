"""Graded networks as binary ones: every integer equal, logits within 1e-12, the rest refused."""

import pytest
import torch
from mmengine.registry import MODELS
from networks import awaken
from torch import nn

from mmqkformer.deploy import expand_to_binary

NEURONS = {
    'lif': dict(type='LIFNeuron'),
    'ilif': dict(type='ILIFNeuron', levels=3),
    'normalised': dict(type='ILIFNeuron', normalize=True),
    'multi-spike': dict(type='MultiSpikeNeuron', gain=2.0),
}
SSA = dict(type='SpikingSelfAttention', num_heads=2)
TOKEN = dict(type='QKTokenAttention', num_heads=2, mask_neuron=dict(type='IFNeuron'))
CHANNEL = dict(type='QKChannelAttention', mask_neuron=dict(type='IFNeuron'))
MLP = dict(type='SpikingMLP', ratio=2)


def graph(neuron, *branches, embed=None, head=None, **kwargs):
    torch.manual_seed(0)
    embed = embed or dict(type='PEDSStem', channels=[4, 8], pools=[1, 0], shortcut_from=1)
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(
                type='SpikingBackbone',
                stages=[dict(embed=embed, block=list(branches), channels=8, depth=2)],
                neuron=neuron,
                **kwargs,
            ),
            head=dict(type='SpikingClsHead', num_classes=5, in_channels=8, **(head or {})),
        )
    ).double()
    images = torch.randn(3, 3, 12, 10, dtype=torch.float64)
    return awaken(model, images), images


def spikes_of(model, images):
    """The spikes of every neuron, by its name, and the logits."""
    spikes = {}

    def record(name):
        def hook(module, args, output):
            with torch._C.DisableTorchFunction():
                spikes[name] = output.as_subclass(torch.Tensor).clone()

        return hook

    names = [name for name, m in model.named_modules() if name.endswith('neuron')]
    hooks = [model.get_submodule(name).register_forward_hook(record(name)) for name in names]
    with torch.no_grad():
        logits = model(images)
    for hook in hooks:
        hook.remove()
    return {name.removeprefix('model.'): value for name, value in spikes.items()}, logits


@pytest.mark.parametrize('attention', [SSA, TOKEN, CHANNEL])
@pytest.mark.parametrize('residual', ['add', 'membrane'])
@pytest.mark.parametrize('neuron', NEURONS)
def test_the_binary_network_computes_the_same(neuron, residual, attention):
    model, images = graph(NEURONS[neuron], attention, MLP, residual=residual)
    expanded = expand_to_binary(model)
    expected, logits = spikes_of(model, images)
    found, same = spikes_of(expanded, images)
    assert found.keys() == expected.keys()
    for name, spikes in expected.items():
        assert torch.equal(found[name], spikes), name
    torch.testing.assert_close(same, logits, rtol=0, atol=1e-12)
    assert sum(spikes.sum() for spikes in expected.values()) > 100
    levels = 1 if neuron == 'lif' else 3 if neuron == 'ilif' else 4
    assert max(expanded.maps.values()) == levels


def test_products_are_counted_in_pairs_of_maps():
    model, images = graph(dict(type='ILIFNeuron', levels=3), SSA, residual='membrane')
    expanded = expand_to_binary(model)
    expanded(images)
    # k^T v of three maps each; the sums that it gives are then selected by q
    name = 'backbone.stages.0.blocks.{}.branch0'
    assert expanded.products == {name.format(0): 9, name.format(1): 9}


@pytest.mark.parametrize('out', ['rates', 'spikes', 'stream'])
def test_every_way_out(out):
    head = dict(neuron=dict(type='ILIFNeuron')) if out == 'stream' else {}
    model, images = graph(NEURONS['ilif'], MLP, head=head, out=out, residual='membrane')
    with torch.no_grad():
        expected = model(images)
    torch.testing.assert_close(expand_to_binary(model)(images), expected, rtol=0, atol=1e-12)


def test_pools_of_spikes_and_an_identity_shortcut():
    embed = dict(
        type='ConvEmbed',
        units=[dict(channels=8, pool='after_neuron'), dict()],
        shortcut='identity',
        shortcut_from=1,
    )
    model, images = graph(NEURONS['ilif'], MLP, embed=embed)
    with torch.no_grad():
        expected = model(images)
    torch.testing.assert_close(expand_to_binary(model)(images), expected, rtol=0, atol=1e-12)


def test_and_not_stays_binary():
    embed = dict(type='ConvEmbed', units=[dict(stride=2)])
    model, images = graph(NEURONS['lif'], dict(MLP, residual='iand'), embed=embed)
    with torch.no_grad():
        expected = model(images)
    torch.testing.assert_close(expand_to_binary(model)(images), expected, rtol=0, atol=1e-12)


def test_the_model_itself_is_left_alone():
    model, images = graph(NEURONS['ilif'], MLP)
    before = model(images)
    expand_to_binary(model)(images)
    assert torch.equal(model(images), before)
    assert not any(m._forward_hooks for m in model.modules())


@MODELS.register_module()
class RectifiedBranch(nn.Module):
    """A ReLU between convolutions, on ``[T, B, C, H, W]``."""

    def __init__(self, embed_dims):
        super().__init__()
        self.relu = nn.ReLU()
        self.embed_dims = embed_dims

    def forward(self, x):
        return self.relu(2 * x.mean(2, keepdim=True) - 1).expand_as(x)


def test_what_is_not_affine_is_refused_by_its_name():
    model, images = graph(NEURONS['ilif'], dict(type='RectifiedBranch', name='odd'))
    with pytest.raises(ValueError, match=r'blocks\.0\.odd\.relu: relu is not affine'):
        expand_to_binary(model)(images)
    model, images = graph(NEURONS['ilif'], MLP)
    expanded = expand_to_binary(model)
    expanded.model.backbone.stages[0].blocks[0].branch0.fc1.norm.train()
    with pytest.raises(ValueError, match=r'fc1\.norm: a norm in training mode'):
        expanded(images)
    expanded.eval()
    expanded(images)
