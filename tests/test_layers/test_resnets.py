"""Parts of the residual networks: pools, joins, chains of convolutions, norms and their starts."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmqkformer.layers import SpikingConv, merge_time, split_time
from mmqkformer.models.archs import expand_arch

IF = dict(type='IFNeuron', surrogate=dict(type='ATanSurrogate'))
COMMON = dict(neuron=IF, norm_cfg=dict(type='BN'))
MS_NEURON = dict(
    type='LIFNeuron',
    tau=4 / 3,
    decay_input=False,
    v_threshold=0.5,
    strict=True,
    surrogate=dict(type='RectangularSurrogate', alpha=1.0),
)


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spikes(*shape):
    return (numbers(*shape) > 0.3).double()


def awake(layer):
    torch.manual_seed(0)
    for norm in layer.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 1.0, 2.0)
            nn.init.normal_(norm.bias, 0.3, 0.3)
    return layer.double().eval()


def build(in_channels=8, **cfg):
    torch.manual_seed(0)
    cfg = dict(type='ConvEmbed', in_channels=in_channels, embed_dims=8, **COMMON, **cfg)
    return awake(MODELS.build(cfg))


def small(base, **changes):
    """The stages of an architecture, 8 channels wide, in a backbone."""
    arch = dict(base=base, depths=[2, 1, 2, 1], embed_dims=[8] * 4, **changes)
    torch.manual_seed(0)
    return dict(type='SpikingBackbone', arch=arch, time_steps=3, neuron=IF)


@pytest.mark.parametrize(
    ('pool_type', 'pooled'),
    [
        ('max3', lambda x: F.max_pool2d(x, 3, 2, 1)),
        ('max2', lambda x: F.max_pool2d(F.pad(x, [0, 1, 0, 1], value=-1e9), 2)),
        ('avg2', None),
    ],
)
def test_pools_halve_any_size(pool_type, pooled):
    unit = SpikingConv(3, 4, 1, pool='before_conv', pool_type=pool_type, norm_cfg=dict(type='BN'))
    x = numbers(2, 2, 3, 5, 7)
    y = unit.pool(merge_time(x))
    assert y.shape[2:] == (3, 4)
    assert unit.stride == 2
    if pooled is None:
        # A border is the mean of the pixels that are there
        torch.testing.assert_close(y[:, :, -1, -1], merge_time(x)[:, :, -1, -1])
        torch.testing.assert_close(y[:, :, 0, -1], merge_time(x)[:, :, :2, -1].mean(2))
        torch.testing.assert_close(y[:, :, 1, 1], merge_time(x)[:, :, 2:4, 2:4].mean((2, 3)))
    else:
        assert torch.equal(y, pooled(merge_time(x)))
    with pytest.raises(ValueError, match="pool_type='avg2': expected none without a pool"):
        SpikingConv(3, 4, pool_type='avg2', norm_cfg=dict(type='BN'))


def test_a_unit_without_a_norm_is_its_convolution():
    unit = SpikingConv(3, 4, bias=True, norm=False, norm_cfg=dict(type='BN')).double().train()
    x = numbers(2, 2, 3, 5, 7)
    expected = F.conv2d(merge_time(x), unit.conv.weight, unit.conv.bias, padding=1)
    assert torch.equal(unit(x), split_time(expected, 2))
    assert set(unit.state_dict()) == {'conv.weight', 'conv.bias'}


@pytest.mark.parametrize('count_copies', [True, False])
def test_a_norm_counts_the_copies_of_an_image_or_one(count_copies):
    torch.manual_seed(0)
    unit = SpikingConv(3, 4, count_copies=count_copies, norm_cfg=dict(type='BN')).double()
    image = numbers(2, 3, 4, 4)
    by_hand = nn.BatchNorm2d(4).double()
    currents = F.conv2d(image, unit.conv.weight, padding=1)
    y = by_hand(currents.repeat(5, 1, 1, 1) if count_copies else currents)
    torch.testing.assert_close(unit(image.expand(5, *image.shape))[0], y[:2])
    torch.testing.assert_close(unit.norm.running_var, by_hand.running_var, rtol=1e-12, atol=0)


@pytest.mark.parametrize('connect', ['add', 'and', 'iand'])
def test_a_block_with_strides_joins_spikes(connect):
    layer = build(units=[dict(channels=8, stride=2), dict()], shortcut='conv', join=connect)
    x = spikes(3, 2, 8, 5, 6)
    y, s = layer.convs[1](layer.convs[0](x)), layer.shortcut(x)
    expected = {'add': y + s, 'and': y * s, 'iand': s * (1 - y)}[connect]
    assert torch.equal(layer(x), expected)
    assert expected.mean() > 0
    assert layer.stream == ('sums' if connect == 'add' else 'spikes')


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(units=[dict()], join='and'), "join='and': expected none without a shortcut"),
        (
            dict(units=[dict(fire='none')], shortcut='conv', join='iand'),
            "join='iand': expected spikes on both sides",
        ),
        (dict(units=[dict()], shortcut='conv', join='or'), "join='or': expected 'add' or 'and'"),
    ],
)
def test_joins_that_mean_nothing_are_refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        build(**cfg)


def test_a_bottleneck_is_three_convolutions_around_a_narrow_one():
    torch.manual_seed(0)
    cfg = dict(type='ConvBranch', ratio=0.25, kernel_size=(1, 3, 1), embed_dims=16)
    layer = awake(MODELS.build({**cfg, **COMMON}))
    shapes = [p.shape for p in layer.parameters() if p.dim() == 4]
    assert shapes == [(4, 16, 1, 1), (4, 4, 3, 3), (16, 4, 1, 1)]
    x = spikes(3, 2, 16, 5, 6)
    expected = layer.conv3(layer.conv2(layer.conv1(x)))
    assert torch.equal(layer(x), expected)
    assert layer.conv3.neuron is None
    for kernels, message in (((3,), 'at least two'), ((3, 2), 'an odd number')):
        with pytest.raises(ValueError, match=rf'^kernel_size.*expected {message}'):
            MODELS.build({**cfg, **COMMON, 'kernel_size': kernels})


@pytest.mark.parametrize('connect', ['add', 'and', 'iand'])
@pytest.mark.parametrize('bottleneck', [False, True])
def test_sew_resnet_follows_its_equations(bottleneck, connect):
    """Layer by layer, on the tensors of the model: SN(BN(conv)) chains, and g of both sides."""
    cfg = small('sew_resnet', bottleneck=bottleneck, connect=connect)
    model = awake(MODELS.build(dict(cfg, out='stream')))
    join = dict(add=lambda s, y: y + s, iand=lambda s, y: s * (1 - y))
    join['and'] = lambda s, y: y * s
    fire = MODELS.build(IF)

    def unit(part, x, stride=1):
        weight = part.conv.weight
        y = F.conv2d(merge_time(x), weight, None, stride, weight.shape[-1] // 2)
        return split_time(part.norm(y), x.size(0))

    image = numbers(2, 3, 40, 33)
    first = model.stages[0].embed.convs[0]
    x = unit(first, image[None], 2).expand(3, -1, -1, -1, -1)
    x = split_time(F.max_pool2d(merge_time(fire(x)), 3, 2, 1), 3)
    names = ['conv1', 'conv2', 'conv3'][: 2 + bottleneck]
    strided = 'conv2' if bottleneck else 'conv1'
    for i, stage in enumerate(model.stages):
        y = s = x
        for name in names:
            y = fire(unit(getattr(stage.embed, name), y, 2 if i and name == strided else 1))
        if i or bottleneck:
            s = fire(unit(stage.embed.shortcut, x, 2 if i else 1))
        x = join[connect](s, y)
        for block in stage.blocks:
            y = x
            for name in names:
                y = fire(unit(getattr(block.conv, name), y))
            x = join[connect](x, y)
    (found,) = model(image)
    torch.testing.assert_close(found.as_subclass(torch.Tensor), x)
    assert x.mean() > 0


@pytest.mark.parametrize('deep', [False, True])
def test_ms_resnet_follows_its_equations(deep):
    """Layer by layer, on the tensors of the model, with a neuron of its own words."""
    cfg = dict(small('ms_resnet', deep=deep), neuron=MS_NEURON)
    model = awake(MODELS.build(dict(cfg, out='stream')))

    def fire(x):
        out, u, s = [], torch.zeros_like(x[0]), torch.zeros_like(x[0])
        for current in x:
            u = 0.25 * u * (1 - s) + current
            s = (u > 0.5).to(u)
            out.append(s)
        return torch.stack(out)

    def unit(part, x, stride=1):
        conv = part.conv
        y = F.conv2d(merge_time(x), conv.weight, conv.bias, stride, conv.kernel_size[0] // 2)
        return split_time(part.norm(y), x.size(0))

    image = numbers(2, 3, 40, 33)
    x = image.repeat(3, 1, 1, 1, 1)
    for j, part in enumerate(model.stages[0].embed.convs):
        x = unit(part, x, 1 if j else 2)
    for stage in model.stages:
        embed = stage.embed
        y = unit(embed.conv2, fire(unit(embed.conv1, fire(x), 2)))
        s = split_time(F.avg_pool2d(merge_time(x), 2, ceil_mode=True), 3) if deep else x
        x = y + unit(embed.shortcut, s, 1 if deep else 2)
        for block in stage.blocks:
            x = x + unit(block.conv.conv2, fire(unit(block.conv.conv1, fire(x))))
    (found,) = model(image)
    torch.testing.assert_close(found.as_subclass(torch.Tensor), x)
    assert 0.05 < fire(x).mean() < 0.95


def test_the_stem_of_ms_resnet_104_has_one_norm_and_biases():
    (stem, *_) = expand_arch('ms-resnet-104')
    units = stem['embed']['units']
    assert [unit.get('norm', True) for unit in units] == [False, False, True, True, True]
    assert [unit.get('bias', False) for unit in units] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ('cfg', 'start'),
    [
        (dict(small('ms_resnet'), neuron=MS_NEURON, out='stream'), (0.0, 0.0)),
        (dict(small('sew_resnet', connect='and'), out='spikes'), (0.0, 1.0)),
    ],
)
def test_norms_that_end_a_block_start_on_their_own(cfg, start):
    weight, bias = start
    init_cfg = [
        dict(type='Constant', layer='BatchNorm2d', val=0.5),
        dict(type='LastNorm', weight=weight, bias=bias),
    ]
    model = MODELS.build(dict(cfg, init_cfg=init_cfg)).double()
    model.init_weights()
    last = [
        part
        for stage in model.stages
        for part in (stage.embed.conv2, *(block.conv.conv2 for block in stage.blocks))
    ]
    for name, norm in model.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            at_end = any(norm is part.norm for part in last)
            assert norm.weight.unique().tolist() == [weight if at_end else 0.5], name
            assert norm.bias.unique().tolist() == [bias if at_end else 0.0], name
    # A block begins as its shortcut
    stage = model.eval().stages[0]
    x = spikes(3, 2, 8, 5, 6)
    assert torch.equal(stage.blocks[0](x), x)


def test_a_wrong_start_is_refused_when_the_network_is_built():
    cfg = dict(small('ms_resnet'), init_cfg=dict(type='LastNorm', weight='0'))
    with pytest.raises(ValueError, match=r"^backbone\.init_cfg\.weight='0': expected a finite"):
        MODELS.build(cfg)


def test_a_pool_is_an_embedding_that_keeps_channels():
    pool = MODELS.build(dict(type='MaxPoolEmbed', in_channels=3, embed_dims=3))
    x = spikes(2, 2, 3, 5, 7)
    y = pool(x)
    assert y.shape == (2, 2, 3, 3, 4)
    assert (pool.stride, pool.stream) == (2, 'sums')
    padded = F.pad(merge_time(x), [0, 1, 0, 1])
    assert torch.equal(merge_time(y), F.max_pool2d(padded, 2))
    assert (
        MODELS.build(
            dict(type='MaxPoolEmbed', in_channels=3, embed_dims=3, in_stream='membrane')
        ).stream
        == 'membrane'
    )
    with pytest.raises(ValueError, match='channels=4: expected 3, as a pool keeps them'):
        MODELS.build(dict(type='MaxPoolEmbed', in_channels=3, embed_dims=4))


def test_the_networks_for_events_pool_behind_every_block():
    cfg = dict(
        type='SpikingBackbone', arch=dict(base='sew_resnet_events', embed_dims=[4] * 4 + [8] * 3)
    )
    torch.manual_seed(0)
    model = awake(MODELS.build(dict(cfg, time_steps=2, in_channels=2, out='stream', neuron=IF)))
    frames = numbers(1, 2, 2, 128, 130)
    x = frames.transpose(0, 1)
    for i, stage in enumerate(model.stages):
        if i:
            x = split_time(F.max_pool2d(merge_time(x), 2, ceil_mode=True), 2)
        if i in (0, 4):
            x = fired(stage.embed.convs[0], x)
        for block in stage.blocks:
            y = fired(block.conv.conv2, fired(block.conv.conv1, x))
            x = x + y
    assert model.strides[-1] == 128
    (found,) = model(frames)
    torch.testing.assert_close(found.as_subclass(torch.Tensor), x)
    assert x.mean() > 0


def fired(part, x):
    weight = part.conv.weight
    y = F.conv2d(merge_time(x), weight, None, 1, weight.shape[-1] // 2)
    return MODELS.build(IF)(split_time(part.norm(y), x.size(0)))


def test_an_identity_of_what_comes_in_may_be_of_sums():
    layer = build(units=[dict()], shortcut='identity', join='and')
    assert layer.stream == 'sums'
