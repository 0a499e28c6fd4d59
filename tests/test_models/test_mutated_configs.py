"""Mutated configs build and run, or give one error that begins with the path of a field."""

import copy
import random
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmqkformer.models.archs import expand_arch

ROOT = Path(__file__).parents[2]
PUBLIC = [
    'qkformer/hst-10-384_8xb64_in1k.py',
    'qkformer/hst-4-384-qkca-ssa_1xb64_cifar100.py',
    'qkformer/hst-2-256-t16-plif_1xb16_dvs128.py',
    'qkformer/release/hst-4-384_1xb64_cifar100.py',
    'spikformer/spikformer-4-384_1xb128_cifar100.py',
    'spikformer/spikformer-2-256-peds-t16_1xb16_cifar10dvs.py',
]
# Not ours to check: mmengine and mmpretrain read them
FOREIGN = {'init_cfg', 'loss', 'topk'}
VALUES = [
    None, True, False, 'False', 'no', '', [], {}, [1], [None], dict(type='ReLU'),
    dict(type='SpikingMLP'), dict(type='LIFNeuron', tau=0.5), dict(type='Nobody'), dict(tau=2.0),
    0, 1, -1, 2, 3, 7, 0.5, 1.5, -0.1, float('nan'), float('inf'), 10**6, 10**9, 'add',
    'membrane', 'and', 'first', 'stream', 'SpikingSelfAttention', 'QKChannelAttention', 'LIFNeuron',
]  # fmt: skip
# `path.of[0].field=value: ...`, or a sentence about a whole arch
A_FIELD = re.compile(
    r'[A-Za-z_]\w*(\.\w+|\[\d+\])*(=| is unknown| lacks| has unknown)|backbone: expected either'
)


def small(channels):
    return max(8, channels // 32 * 2)


def shrunk(model):
    """Narrow, with one block a stage; of an architecture its stages, so that every field shows."""
    model = copy.deepcopy(model)
    backbone = model['backbone']
    arch = backbone.pop('arch', None)
    stages = backbone.get('stages')
    if stages is None:
        stages = expand_arch(arch, 'hst')
    backbone['stages'] = copy.deepcopy(list(stages))
    for stage in backbone['stages']:
        stage['channels'] = small(stage['channels'])
        stage['depth'] = min(stage['depth'], 1)
        if 'channels' in stage['embed']:
            stage['embed']['channels'] = [small(c) for c in stage['embed']['channels']]
        for branch in stage.get('block', {}).values():
            if 'num_heads' in branch:
                branch['num_heads'] = 2
    backbone['time_steps'] = 2
    head = dict(model['head'], in_channels=backbone['stages'][-1]['channels'], num_classes=3)
    return dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head)


def public(path):
    model = Config.fromfile(ROOT / 'configs' / path).model.to_dict()
    model['head'].pop('loss', None)
    return shrunk(model)


def open_graph():
    """Every key of units, branches and the head."""
    units = [
        dict(channels=8, kernel_size=5, stride=2, padding=2, groups=1, bias=True, fire='none'),
        dict(channels=8, kernel_size=3, pool='before_neuron', neuron=dict(type='IFNeuron')),
        dict(fire='first', name='position'),
    ]
    embed = dict(
        type='ConvEmbed',
        units=units,
        shortcut='conv',
        shortcut_from=1,
        shortcut_on='spikes',
        in_stream='membrane',
    )
    lif = dict(type='LIFNeuron', tau=2.0, v_threshold=0.5, strict=True, decay_input=False)
    block = [
        dict(type='QKTokenAttention', name='a', num_heads=2, mask_neuron=lif, residual='membrane'),
        dict(type='SpikingMLP', name='b', ratio=2, out_neuron=dict(type='ILIFNeuron', levels=2)),
        dict(type='SpikingMLP', ratio=1.5, residual='membrane', layer_scale=0.1, drop_path=0.1),
    ]
    surrogate = dict(type='TriangularSurrogate', alpha=1.0)
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(
            type='SpikingBackbone',
            stages=[dict(embed=embed, block=block, channels=8, depth=1)],
            neuron=dict(type='LIFNeuron', surrogate=surrogate, detach_reset=True, backend='auto'),
            norm_cfg=dict(type='BN', eps=1e-5),
            time_steps=2,
            in_channels=3,
            drop_path_rate=0.1,
            out='stream',
            with_cp=[True],
        ),
        head=dict(
            type='SpikingClsHead',
            num_classes=3,
            in_channels=8,
            neuron=dict(type='MultiSpikeNeuron', levels=4, gain=2.0),
            bias=False,
            loss_on='steps',
            mse_weight=0.1,
        ),
    )


def tiny_arch():
    arch = dict(
        base='hst-4-384',
        embed_dims=[8, 8, 16],
        depths=[1, 1, 1],
        num_heads=[2, 2, 2],
        mlp_ratios=[1, 2, 1],
        attentions=['QKTokenAttention', dict(type='QKChannelAttention'), 'SpikingSelfAttention'],
        stem=dict(channels=[8, 8], pools=[False, True], shortcut_from=1),
        pool='last',
    )
    model = open_graph()
    backbone = dict(type='QKFormer', arch=arch, time_steps=2)
    head = dict(type='SpikingClsHead', num_classes=3, in_channels=16)
    return dict(model, backbone=backbone, head=head)


GRAPHS = [*(lambda path=path: public(path) for path in PUBLIC), open_graph, tiny_arch]


def places(node, path=()):
    """Paths of all fields that are ours, but the types of the backbone and the head."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if key in FOREIGN or (key == 'type' and len(path) == 1):
            continue
        if path:
            yield (*path, key)
        if isinstance(value, (dict, list, tuple)):
            yield from places(value, (*path, key))


def mutate(model, rng):
    """One mutation, in place; returns what was done."""
    *parents, key = rng.choice(list(places({k: model[k] for k in ('backbone', 'head')})))
    node = model
    for parent in parents:
        if isinstance(node[parent], tuple):
            node[parent] = list(node[parent])
        node = node[parent]
    kind = rng.random()
    if kind < 0.1:
        del node[key]
        return f'del {parents} {key}'
    if kind < 0.2 and isinstance(node, dict) and len(parents) > 1:
        node['nonsense'] = 3
        return f'add to {parents}'
    value = copy.deepcopy(rng.choice(VALUES))
    node[key] = value
    return f'{parents} {key} = {value!r}'


def run(model):
    """A forward pass and a training step."""
    backbone = model.backbone
    size = max(2 * backbone.strides[-1], 8)
    if size > 512 or backbone.time_steps > 64 or backbone.in_channels > 64:
        return
    images = torch.randn(2, backbone.in_channels, size, size + 1)
    model.eval()
    with torch.no_grad():
        assert model(images).shape[0] == 2
    if model.head.loss_on == 'steps' and backbone.out == 'rates':
        return
    model.train()
    (model(images).sum() * 1e-3).backward()


def check(seed):
    rng = random.Random(seed)
    model = rng.choice(GRAPHS)()
    done = f'seed {seed}: {mutate(model, rng)}'
    torch.manual_seed(seed)
    error = raised_by(lambda: MODELS.build(model))
    if error is None:
        torch.manual_seed(seed)
        built = MODELS.build(model)
        error = raised_by(lambda: run(built))
        # Only a pass can tell that the head asks for other features than the backbone has
        fits = isinstance(error, ValueError) and re.search(r'head\.|logits of every', str(error))
        assert error is None or fits, f'{done} runs into {error!r}'
        return 'built'
    # Python's own error where one of the two parts that mmengine builds lacks an argument
    lacking = isinstance(error, TypeError) and re.search('missing .* argument', str(error))
    named = isinstance(error, ValueError) and A_FIELD.match(str(error))
    assert named or lacking, f'{done}: {error!r}'
    return 'refused'


def raised_by(call):
    try:
        call()
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize('graph', range(len(GRAPHS)))
def test_unmutated_they_run(graph):
    run(MODELS.build(GRAPHS[graph]()))


def test_a_hundred_mutations():
    results = [check(seed) for seed in range(100)]
    assert results.count('refused') > 40
    assert results.count('built') > 5


@pytest.mark.slow
@pytest.mark.parametrize('start', range(100, 1100, 100))
def test_a_thousand_mutations(start):
    for seed in range(start, start + 100):
        check(seed)
