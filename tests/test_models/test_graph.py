"""SpikingBackbone: any stages, what leaves them, and families from outside the package."""

import re

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmqkformer.models import ARCHITECTURES
from mmqkformer.models.archs import expand_arch

PLAIN = dict(type='ConvEmbed', units=[dict(pool='before_neuron')])
MEMBRANE = dict(type='ConvEmbed', units=[dict(stride=2, fire='none')])
MLP = dict(type='SpikingMLP', ratio=2)
ATTENTION = dict(type='SpikingSelfAttention', num_heads=2)


def images(*shape, seed=0):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build(*stages, seed=0, **kwargs):
    torch.manual_seed(seed)
    return MODELS.build(dict(type='SpikingBackbone', stages=list(stages), **kwargs)).eval()


def stage(embed, *branches, channels=8, depth=1):
    return dict(embed=embed, block=list(branches), channels=channels, depth=depth)


def values(x):
    return set(x.as_subclass(Tensor).unique().tolist())


@pytest.mark.parametrize(
    'block',
    [
        dict(attention=ATTENTION, mlp=MLP, residual='membrane'),
        [dict(MLP, residual='membrane')],
        [dict(MLP, residual='membrane'), MLP],
    ],
)
def test_a_block_with_a_membrane_leaves_as_spikes(block):
    """The exit knows the stream of its stage, not the default of the network."""
    spikes = build(dict(embed=PLAIN, block=block, channels=8, depth=1), out='spikes')
    assert values(spikes(images(2, 3, 16, 16))[0]) == {0.0, 1.0}
    rates = build(dict(embed=PLAIN, block=block, channels=8, depth=1))
    assert values(4 * rates(images(2, 3, 16, 16))[0]) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_every_stage_leaves_as_what_it_is():
    stages = [
        stage(PLAIN, channels=8, depth=0),
        stage(PLAIN, MLP, channels=12),
        stage(MEMBRANE, dict(MLP, residual='membrane'), channels=16),
    ]
    x = images(2, 3, 32, 32)
    streams = build(*stages, out='stream', out_indices=(0, 1, 2))
    assert [s.stream for s in streams.stages] == ['spikes', 'sums', 'membrane']
    spikes = build(*stages, out='spikes', out_indices=(0, 1, 2))
    assert list(spikes.out_neurons) == ['2']
    assert len(streams.out_neurons) == 0
    raw, fired = streams(x), spikes(x)
    assert torch.equal(raw[0], fired[0])
    assert torch.equal(raw[1], fired[1])
    assert values(fired[0]) == {0.0, 1.0}
    assert values(fired[1]) <= {0.0, 1.0, 2.0}
    assert len(values(raw[2])) > 100
    lif = MODELS.build(dict(type='LIFNeuron'))
    assert torch.equal(lif(raw[2].as_subclass(Tensor)), fired[2].as_subclass(Tensor))


def test_an_embedding_knows_what_the_stage_in_front_hands_on():
    identity = dict(type='ConvEmbed', units=[dict()], shortcut='identity', shortcut_on='membrane')
    stages = [stage(MEMBRANE, depth=0), stage(identity, depth=0)]
    model = build(*stages, out='spikes')
    assert [s.stream for s in model.stages] == ['membrane', 'membrane']
    assert values(model(images(2, 3, 16, 16))[0]) == {0.0, 1.0}
    # Unless told otherwise a neuron makes spikes of it, for the shortcut and the units
    sums = build(stages[0], stage(dict(identity, shortcut_on='spikes'), depth=0), out='spikes')
    assert sums.stages[1].stream == 'sums'
    assert values(sums(images(2, 3, 16, 16))[0]) <= {0.0, 1.0, 2.0}
    with pytest.raises(ValueError, match=r"stages\[1\]\.embed\.in_stream='spikes': expected 'memb"):
        build(stages[0], stage(dict(identity, in_stream='spikes'), depth=0))


def test_the_head_fires_on_the_token_mean():
    backbone = build(stage(MEMBRANE, dict(MLP, residual='membrane')), out='stream')
    head = MODELS.build(
        dict(
            type='SpikingClsHead',
            num_classes=3,
            in_channels=8,
            neuron=dict(type='LIFNeuron', v_threshold=0.1),
            bias=False,
        )
    )
    feats = backbone(images(2, 3, 16, 16))
    means = feats[0].as_subclass(Tensor).flatten(3).mean(3)
    spikes = MODELS.build(dict(type='LIFNeuron', v_threshold=0.1))(means)
    assert 0 < spikes.mean() < 1
    assert head.fc.bias is None
    assert torch.equal(head.forward_steps(feats), head.fc(spikes))
    assert torch.equal(head(feats), head.fc(spikes.mean(0)))
    rates = build(stage(PLAIN, MLP))(images(2, 3, 16, 16))
    with pytest.raises(ValueError, match=r"head\.neuron fires at every time step.*out='stream'"):
        head(rates)


def test_any_embedding_can_be_the_stem_and_sees_an_image_once():
    calls = []
    units = [dict(channels=4, stride=2, fire='none'), dict(channels=4, fire='first'), dict()]
    model = build(stage(dict(type='ConvEmbed', units=units), MLP))
    for conv in model.stages[0].embed.convs:
        conv.conv.register_forward_hook(lambda module, args, y: calls.append(args[0].size(0)))
    model(images(2, 3, 16, 16))
    assert calls == [2, 8, 8]


def test_steps_behind_a_stage_without_neurons_are_still_one():
    """A prologue of its own stage (SpikingResformer's) hands one step on."""
    calls = []
    prologue = dict(type='ConvEmbed', units=[dict(stride=2, fire='none')])
    model = build(stage(prologue, channels=4, depth=0), stage(PLAIN, MLP))
    model.stages[1].embed.convs[0].conv.register_forward_hook(
        lambda module, args, y: calls.append(args[0].size(0))
    )
    model(images(2, 3, 16, 16))
    assert calls == [2]


@pytest.mark.parametrize('size', [name for name in ARCHITECTURES if name.startswith('cml-')])
def test_cml_moves_the_pools_and_nothing_else(size):
    base = str(expand_arch(size.removeprefix('cml-')))
    assert 'after_neuron' in base
    assert str(expand_arch(size)) == base.replace('after_neuron', 'before_neuron')


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_every_architecture_is_a_name_of_any_backbone(name):
    """Built without memory; a family's own name needs its numbers."""
    with torch.device('meta'):
        if '-' not in name:
            with pytest.raises(ValueError, match=r'arch lacks \['):
                MODELS.build(dict(type='SpikingBackbone', arch=name))
            return
        model = MODELS.build(dict(type='SpikingBackbone', arch=name))
        if millions := re.search(r'-([\d.]+)m$', name):
            parameters = sum(p.numel() for p in model.parameters())
            classifier = 1000 * (model.channels[-1] + 1)
            assert (parameters + classifier) / 1e6 == pytest.approx(float(millions[1]), rel=0.02)
        elif sized := re.search(r'-(\d+)-(\d+)(-[a-z]+)?$', name):
            # Depth, width, and perhaps what it is for
            depth, width = map(int, sized.groups()[:2])
            assert (sum(model.depths), model.channels[-1]) == (depth, width)
        else:
            assert re.search(r'-(ti|s|m|l|cifar|gesture)$|resnet-(wide-)?\d+(-i?and|b)?$', name)
            if layers := re.search(r'resnet-(\d+)(-|$)', name):
                # On the way from the image to the classifier, which is one as well
                convs = [key for key, m in model.named_modules() if isinstance(m, nn.Conv2d)]
                through = [key for key in convs if 'shortcut' not in key]
                assert len(through) + 1 == int(layers[1]) + 2 * (layers[1] == '104')


@pytest.mark.parametrize('out', ['rates', 'spikes', 'stream'])
def test_a_network_without_a_time_axis_has_one_step(out):
    timeless = dict(type='ILIFNeuron', decay=None)
    one = stage(PLAIN, dict(MLP, residual='membrane'))
    message = r'time_steps=4: expected 1, as the network has no time axis \(stages\.0\..*ILIFNeuron'
    with pytest.raises(ValueError, match=rf'^backbone\.{message}'):
        build(one, neuron=timeless, out=out)
    model = build(one, neuron=timeless, out=out, time_steps=1)
    with pytest.raises(ValueError, match=f'^{message}'):
        model.time_steps = 4
    assert model.time_steps == 1
    assert torch.equal(model(images(2, 3, 16, 16))[0], model(images(2, 3, 16, 16))[0])
    # One layer is enough
    several = stage(PLAIN, dict(MLP, neuron=timeless))
    with pytest.raises(
        ValueError, match=r'time_steps=2: .*\(stages\.0\.blocks\.0\.branch0\.fc1\.n'
    ):
        build(several, time_steps=2, out=out)


@MODELS.register_module()
class ShiftBranch(nn.Module):
    """A family's own branch: mixes each channel with its neighbour, ``[T, B, C, H, W]``."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(embed_dims, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x + x.roll(1, dims=2)


@MODELS.register_module()
class GateBranch(nn.Module):
    """Another: gates spikes by their mean over the plane, ``[T, B, C, H, W]``."""

    def __init__(self, embed_dims: int, gain: float = 4.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((embed_dims, 1, 1), gain))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x * x.mean((3, 4), keepdim=True)


def own_family(neuron):
    identity = dict(
        type='ConvEmbed',
        units=[dict(channels=8, pool='after_neuron'), dict()],
        shortcut='identity',
        shortcut_from=1,
    )
    branches = [
        dict(type='ShiftBranch', name='shift'),
        dict(type='GateBranch', name='gate', residual='membrane'),
    ]
    return dict(type='SpikingBackbone', stages=[stage(identity, *branches, depth=2)], neuron=neuron)


def test_a_family_from_outside_the_package_trains_a_step():
    """Two branches of its own and an identity shortcut, in nothing but a config."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=own_family(dict(type='LIFNeuron')),
            head=dict(type='SpikingClsHead', num_classes=3, in_channels=8),
        )
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    loss = nn.functional.cross_entropy(model(images(4, 3, 16, 16)), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    optimizer.step()
    named = zip(model.named_parameters(), before)
    assert [name for (name, p), old in named if torch.equal(p, old)] == []
