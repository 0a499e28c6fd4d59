"""The backbone: any size, per sample, stateless, and what its users in three scopes expect."""

import copy
import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict
from networks import awaken
from torch import nn

from mmqkformer.layers import SpikingConv
from mmqkformer.models import ARCHITECTURES
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.spikes import SpikeFeatures

TINY = dict(
    embed_dims=[8, 16, 32],
    depths=[1, 1, 2],
    num_heads=[2, 2, 4],
    mlp_ratios=[2, 2, 2],
    attentions=['QKTokenAttention', 'QKChannelAttention', 'SpikingSelfAttention'],
    stem=dict(channels=[4, 8, 8], pools=[True, True, False], shortcut_from=1),
    pool='first',
)


STEM = dict(embed=dict(type='ConvEmbed', units=[dict()]))


def build(seed=0, **kwargs):
    torch.manual_seed(seed)
    cfg = dict(type='QKFormer', arch=TINY, **kwargs)
    return awaken(MODELS.build(cfg), image(4, 3, 32, 32)).train()


def image(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize('name', [n for n in ARCHITECTURES if n.startswith('hst-')])
def test_named_architectures_build_and_run(name):
    in_channels = 2 if name == 'hst-2-256' else 3
    model = MODELS.build(
        dict(type='QKFormer', arch=name, in_channels=in_channels, time_steps=1)
    ).eval()
    with torch.no_grad():
        (out,) = model(image(1, in_channels, 32, 32))
    stride = 4 if name == 'hst-4-384' else 16
    assert model.strides[-1] == stride
    assert out.shape == (1, int(name.split('-')[-1]), 32 // stride, 32 // stride)


@pytest.mark.parametrize('residual', ['add', 'membrane'])
@pytest.mark.parametrize('size', [(32, 32), (33, 47), (16, 90), (61, 17)])
def test_any_size(size, residual):
    model = build(out_indices=(0, 1, 2), residual=residual).eval()
    outs = model(image(2, 3, *size))
    for out, channels, stride in zip(outs, (8, 16, 32), (4, 8, 16)):
        expected = (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert out.shape == expected
    assert (model.channels, model.strides) == ([8, 16, 32], [4, 8, 16])


@pytest.mark.parametrize('residual', ['add', 'membrane'])
@pytest.mark.parametrize('events', [False, True])
def test_samples_are_independent(events, residual):
    model = build(residual=residual, out_indices=(0, 1, 2)).double().eval()
    shape = (5, 4, 3, 32, 48) if events else (5, 3, 32, 48)
    x = image(*shape, dtype=torch.float64)
    with torch.no_grad():
        together = model(x)
        order = torch.tensor([3, 0, 4, 1, 2])
        shuffled = model(x[order])
        alone = [model(sample[None]) for sample in x]
        again = model(x)
    for level in range(3):
        assert together[level].abs().sum() > 0
        singles = torch.cat([out[level] for out in alone])
        torch.testing.assert_close(together[level], singles, rtol=0, atol=1e-9)
        torch.testing.assert_close(shuffled[level], together[level][order], rtol=0, atol=1e-9)
        assert torch.equal(again[level], together[level])


def test_static_image_equals_its_repetition_as_events():
    model = build().eval()
    x = image(2, 3, 32, 32)
    torch.testing.assert_close(model(x)[0], model(x[:, None].expand(-1, 4, -1, -1, -1))[0])


def test_first_convolution_sees_a_static_image_once(monkeypatch):
    model = build().eval()
    batches = []
    model.stages[0].embed.convs[0].conv.register_forward_hook(
        lambda module, args, out: batches.append(args[0].size(0))
    )
    model(image(2, 3, 32, 32))
    model(image(2, 4, 3, 32, 32))
    assert batches == [2, 8]


def test_time_steps_can_be_changed_on_a_trained_model():
    model = build(time_steps=4).eval()
    x = image(1, 3, 32, 32)
    four = model(x)[0]
    model.time_steps = 2
    two = model(x)[0]
    twin = build(time_steps=2).eval()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(two, twin(x)[0])
    assert not torch.equal(two, four)
    assert torch.equal(two * 2, (two * 2).round())
    with pytest.raises(ValueError, match='time_steps=0: expected an integer from 1 to 4096'):
        model.time_steps = 0


def test_rates_are_the_mean_of_the_spikes():
    x = image(2, 3, 32, 32)
    rates = build(out_indices=(0, 2)).eval()(x)
    spikes = build(out_indices=(0, 2), out='spikes').eval()(x)
    for rate, train in zip(rates, spikes):
        assert train.shape == (4, *rate.shape)
        plain = train.as_subclass(torch.Tensor)
        assert torch.equal(plain, plain.round())
        assert torch.equal(plain.mean(0), rate)


def test_add_stream_is_bounded_by_its_additions():
    spikes = build(out_indices=(0, 1, 2), out='spikes').eval()(image(2, 3, 64, 64))
    for out, depth in zip(spikes, (1, 1, 2)):
        assert 0 <= out.min() <= out.max() <= 2 + 2 * depth


def test_membrane_outputs_pass_a_neuron():
    spikes = build(residual='membrane', out='spikes').eval()(image(2, 3, 32, 32))[0]
    assert set(spikes.as_subclass(torch.Tensor).unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize('residual', ['add', 'membrane'])
@pytest.mark.parametrize('out_indices', [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_every_parameter_gets_a_gradient(out_indices, residual):
    neuron = dict(type='PLIFNeuron')
    model = build(out_indices=out_indices, residual=residual, neuron=neuron)
    sum(out.sum() for out in model(image(2, 3, 32, 32))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('with_cp', [True, [False, True, True]])
@pytest.mark.parametrize('residual', ['add', 'membrane'])
def test_checkpointing_changes_nothing(residual, with_cp):
    results = []
    for cp in (False, with_cp):
        model = build(residual=residual, with_cp=cp, drop_path_rate=0.3)
        torch.manual_seed(1)
        out = model(image(3, 3, 32, 32))[0]
        out.square().sum().backward()
        grads = [p.grad for p in model.parameters()]
        results.append([out.detach(), *grads, *model.buffers()])
    for plain, recomputed in zip(*results):
        assert torch.equal(plain, recomputed)


@pytest.mark.parametrize(
    ('frozen_stages', 'frozen'),
    [
        (-1, ()),
        (0, ('stages.0.embed',)),
        (1, ('stages.0',)),
        (3, ('stages.0', 'stages.1', 'stages.2')),
    ],
)
def test_frozen_stages(frozen_stages, frozen):
    model = build(frozen_stages=frozen_stages).train()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.startswith(frozen or ('-',))
    before = copy.deepcopy(model.state_dict())
    model(image(2, 3, 32, 32))
    for name, value in model.state_dict().items():
        if name.startswith(frozen or ('-',)):
            assert torch.equal(value, before[name])


def test_norm_eval_keeps_running_statistics():
    model = build(norm_eval=True).train()
    before = copy.deepcopy(model.state_dict())
    model(image(2, 3, 32, 32))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.stages[0].training


def test_layer_depth_orders_the_network():
    model = build()
    depths = {
        'backbone.stages.0.embed.convs.0.conv.weight': 0,
        'backbone.stages.0.blocks.0.mlp.fc1.conv.weight': 1,
        'backbone.stages.1.embed.shortcut.conv.weight': 2,
        'backbone.stages.1.blocks.0.attention.query.conv.weight': 2,
        'backbone.stages.2.embed.convs.0.conv.weight': 3,
        'backbone.stages.2.blocks.0.mlp.fc1.conv.weight': 3,
        'backbone.stages.2.blocks.1.mlp.fc1.conv.weight': 4,
        'head.fc.weight': 5,
    }
    for name, depth in depths.items():
        assert model.get_layer_depth(name, 'backbone.') == (depth, 6)


def test_copies_and_averages_are_independent():
    """A deep copy after a forward pass (as EMA makes one) is a network of its own."""
    model = build().train()
    model(image(2, 3, 32, 32))[0].sum().backward()
    twin = copy.deepcopy(model).eval()
    model.eval()
    x = image(1, 3, 32, 32)
    assert torch.equal(twin(x)[0], model(x)[0])


def test_autocast_keeps_the_spikes():
    """bfloat16 currents may flip a spike near the threshold; counts stay whole numbers."""
    model = build(out='spikes').eval()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = model(image(2, 3, 32, 32))[0].as_subclass(torch.Tensor).float()
    assert torch.equal(out, out.round())


def test_compiles_to_the_same_function():
    model = build().eval()
    x = image(1, 3, 32, 32)
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(x)[0], model(x)[0])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='hst-9-999'), r"arch='hst-9-999' is unknown: expected one of"),
        (dict(arch=dict(base='hst-0')), r"arch='hst-0' is unknown"),
        (dict(arch=3), r"arch=3: expected a name, of \['.*'hst-10-384'"),
        (dict(arch=dict(TINY, embed_dims=64)), r'arch\.embed_dims=64: expected a list'),
        (dict(arch=dict(TINY, width=3)), r"arch has unknown keys \['width'\]"),
        (dict(arch=dict(depths=[1])), r"arch lacks \['embed_dims'"),
        (dict(arch=dict(TINY, depths=[1])), r'arch\.depths=\[1\]: expected 3 entries'),
        (
            dict(arch=dict(base='hst-4-384', embed_dims=[96, 100, 384])),
            r'stages\[1\]\.block\.attention\.num_heads=8: expected a divisor of embed_dims=100',
        ),
        (
            dict(arch=dict(TINY, attentions=['Nobody'] * 3)),
            r"arch\.attentions\[0\]\.type='Nobody': expected",
        ),
        (dict(arch=None), 'expected either arch or stages'),
        (dict(time_steps=0), r'time_steps=0: expected'),
        (dict(time_steps=True), r'time_steps=True: expected an integer'),
        (dict(time_steps=2.0), r'time_steps=2\.0: expected an integer'),
        (dict(out='voltage'), r"out='voltage': expected 'rates' or 'spikes' or 'stream'"),
        (dict(out_indices=(3,)), r'out_indices\[0\]=3: expected an integer from -3 to 2'),
        (dict(out_indices=2), r'out_indices=2: expected a list, \(2,\)'),
        (dict(frozen_stages=4), r'frozen_stages=4: expected an integer from -1 to 3'),
        (dict(with_cp=[True]), r'with_cp=\[True\]: expected'),
        (dict(memory='bits'), r"^backbone\.memory='bits': expected 'packed' or 'recompute'"),
        (dict(memory=True), r'^backbone\.memory=True: expected'),
        (dict(residual='sum'), r"residual='sum': expected"),
        (
            dict(neuron=dict(type='LIFNeuron', backend='tpu')),
            r"^backbone\.neuron\.backend='tpu' is unknown",
        ),
        (dict(arch=None, stages=[]), r'stages=\[\]: expected a list of at least one'),
        (
            dict(arch=None, stages=[dict(channels=3)]),
            r"stages\[0\]=.*expected \['depth', 'embed'\] too",
        ),
        (
            dict(
                arch=None,
                stages=[dict(embed={}, block=dict(attention={}), channels=8, depth=1)],
            ),
            r"stages\[0\]\.embed=\{\}: expected a dict with 'type'",
        ),
        (
            dict(arch=None, stages=[dict(STEM, block=dict(attention={}), channels=8, depth=1)]),
            r'stages\[0\]\.block=.*: expected attention and mlp',
        ),
        (
            dict(arch=None, stages=[dict(STEM, channels=8, depth=0, width=3)]),
            r'stages\[0\]\.width=3: a stage knows no such key',
        ),
        (
            dict(arch=None, stages=[dict(embed=dict(type='SpikingMLP'), channels=8, depth=0)]),
            r'stages\[0\]\.embed\.stride=None: expected an integer of at least 1',
        ),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({'type': 'QKFormer', 'arch': TINY, **kwargs})


def test_frozen_and_recomputed_stages_count_what_the_config_gives():
    """A child config that asks for an earlier stage need not shorten its parent's lists."""
    model = build(out_indices=(1,), frozen_stages=3, with_cp=[False, True, True])
    assert [stage.with_cp for stage in model.stages] == [False, True]
    assert not any(p.requires_grad for p in model.parameters())


def test_numpy_counts_steps_too():
    model = build(time_steps=np.int64(2))
    assert model.time_steps == 2
    assert type(model.time_steps) is int


def test_unknown_type_is_named():
    with pytest.raises(ValueError, match=r"neuron\.type='NoSuchNeuron': expected the name"):
        MODELS.build(dict(type='QKFormer', arch=TINY, neuron=dict(type='NoSuchNeuron')))


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((3, 32, 32), 'expected images'),
        ((1, 1, 32, 32), r'has 1 channels: expected in_channels=3'),
        ((1, 5, 3, 32, 32), r'has 5 time steps: expected time_steps=4'),
        ((1, 3, 15, 64), r'15 x 64 pixels: expected at least 16 x 16'),
    ],
)
def test_bad_inputs_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        build().eval()(image(*shape))


def test_raw_images_are_refused():
    with pytest.raises(ValueError, match=r'input of torch\.uint8: expected floating-point'):
        build().eval()(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize(
    'neck',
    [
        dict(type='mmpretrain.GlobalAveragePooling'),
        dict(type='mmpretrain.GeneralizedMeanPooling'),
        dict(type='mmdet.FPN', in_channels=[32], out_channels=8, num_outs=1),
    ],
)
def test_spikes_in_a_stock_neck_are_one_clear_error(neck):
    import mmdet.models  # noqa: F401
    import mmpretrain.models  # noqa: F401

    out = build(out='spikes').eval()(image(1, 3, 32, 32))
    assert isinstance(out[0], SpikeFeatures)
    with pytest.raises(ValueError, match=r"backbone\.out='spikes'.*set backbone\.out='rates'"):
        MODELS.build(neck)(out)
    MODELS.build(neck)(build().eval()(image(1, 3, 32, 32)))


def test_weights_of_another_family_are_refused(tmp_path):
    other = MODELS.build(dict(type='QKFormer', arch=dict(TINY, depths=[1, 1, 1])))
    torch.save(
        {'state_dict': {f'backbone.{k}': v for k, v in other.state_dict().items()}},
        tmp_path / 'other.pth',
    )
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth'), prefix='backbone.')
    model = build(init_cfg=pretrained)
    with pytest.raises(RuntimeError, match=r'does not fit the QKFormer backbone: .* missing'):
        model.init_weights()
    MODELS.build(
        dict(type='QKFormer', arch=dict(TINY, depths=[1, 1, 1]), init_cfg=pretrained)
    ).init_weights()


@pytest.mark.parametrize('wrapped', [False, True])
def test_weights_of_another_width_are_refused(wrapped):
    """Same names, other shapes: mmengine would warn and leave random weights."""
    other = MODELS.build(
        dict(
            type='QKFormer',
            arch=dict(
                TINY,
                embed_dims=[16, 32, 64],
                stem=dict(channels=[8, 16, 16], pools=[True, True, False], shortcut_from=1),
            ),
        )
    )
    model, weights = build(), other.state_dict()
    if wrapped:
        model = nn.ModuleDict({'backbone': model})
        weights = {f'backbone.{key}': value for key, value in weights.items()}
    before = copy.deepcopy(model.state_dict())
    message = r'does not fit the QKFormer backbone: .* \[8, 3, 3, 3\] instead of \[4, 3, 3, 3\]'
    with pytest.raises(RuntimeError, match=message):
        load_state_dict(model, weights, strict=False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_new_kind_of_neuron_may_start_from_its_own_values():
    lif, plif = build(), build(neuron=dict(type='PLIFNeuron'))
    load_state_dict(plif, lif.state_dict(), strict=False)
    assert torch.equal(
        plif.state_dict()['stages.0.embed.convs.0.conv.weight'],
        lif.state_dict()['stages.0.embed.convs.0.conv.weight'],
    )


def test_pretrained_weights_are_loaded(tmp_path):
    source = build(seed=1)
    torch.save(
        {'state_dict': {f'backbone.{k}': v for k, v in source.state_dict().items()}},
        tmp_path / 'source.pth',
    )
    model = build(
        init_cfg=dict(
            type='Pretrained', checkpoint=str(tmp_path / 'source.pth'), prefix='backbone.'
        )
    )
    model.init_weights()
    for key, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)


def test_arch_dict_starts_from_a_named_one():
    stages = expand_arch(dict(base='hst-4-384', depths=[0, 0, 1]))
    assert [stage.pop('depth') for stage in stages] == [0, 0, 1]
    named = expand_arch('hst-4-384')
    assert [stage.pop('depth') for stage in named] == [1, 1, 2]
    assert stages == named


def test_sync_batch_norm_conversion_reaches_every_norm():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(build())
    norms = [m.norm for m in model.modules() if isinstance(m, SpikingConv)]
    assert norms
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
