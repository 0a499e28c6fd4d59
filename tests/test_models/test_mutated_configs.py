"""Mutated configs build and run, or give one error that begins with the path of a field."""

import copy
import random
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmqkformer.build import ConfigError
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
# Not ours to check: mmpretrain reads it
FOREIGN = {'loss'}
VALUES = [
    None, True, False, 'False', 'no', '', [], {}, [1], [None], dict(type='ReLU'),
    dict(type='SpikingMLP'), dict(type='LIFNeuron', tau=0.5), dict(type='Nobody'), dict(tau=2.0),
    0, 1, -1, 2, 3, 7, 0.5, 1.5, -0.1, float('nan'), float('inf'), 10**6, 10**9, 'add',
    'membrane', 'and', 'first', 'stream', 'SpikingSelfAttention', 'QKChannelAttention', 'LIFNeuron',
]  # fmt: skip
# `path.of[0].field=value: ...`, or a sentence about a whole arch
A_FIELD = re.compile(
    r'(?P<path>(backbone|neck|head)(\.\w+|\[\d+\])*)(=| is unknown| lacks \[| has unknown keys \[)'
)
# A value may be right in itself and wrong beside another, which the error names then: the field
# that was changed, and the field of the error
ELSEWHERE = [
    # The width of a stage is that of its parts
    r'(backbone\.stages\[\d+])\.channels \1\.(embed\.channels|block.*\.num_heads)',
    # Lists of the same length
    r'(.*)\.channels(\[\d+])? \1\.pools',
    r'backbone\.arch\.embed_dims(\[\d+])? backbone\.arch\.(depths|num_heads|mlp_ratios|attentions)',
    # A unit changes what the chain behind it and its shortcut see
    r'(.*\.embed)\.units\[\d+].* \1\.(units|shortcut).*',
    # With another residual the neuron of a branch stands elsewhere, and has another name
    r'(.*)\.residual \1\.(in|out)_neuron',
    # A threshold is above the reset
    r'(.*)\.v_reset \1\.v_threshold',
    # Numbers of the head that go together
    r'head\.(loss_on|mse_weight) head\.(mse_weight|mse_target)',
    r'head\.num_classes head\.topk.*',
    # An architecture is a name for stages, whose parts tell what does not fit
    r'backbone\.arch\.(num_heads|embed_dims)\[(\d)] backbone\.stages\[\2]\.block\..*num_heads',
    r'backbone\.arch\.mlp_ratios\[(\d)] backbone\.stages\[\1]\.block\.mlp\.ratio',
    r'backbone\.arch\.attentions\[(\d)].* backbone\.stages\[\1]\.block\.attention.*',
    r'backbone\.arch\.embed_dims(\[0])? backbone\.arch\.stem\.channels',
]


def unshared(node):
    """A copy in which no two fields are the same dict or list."""
    if isinstance(node, dict):
        return {key: unshared(value) for key, value in node.items()}
    return [unshared(value) for value in node] if isinstance(node, (list, tuple)) else node


def small(channels):
    return max(8, channels // 32 * 2)


def shrunk(model):
    """Narrow, with one block a stage; of an architecture its stages, so that every field shows."""
    model = unshared(model)
    backbone = model['backbone']
    arch = backbone.pop('arch', None)
    stages = backbone.get('stages')
    if stages is None:
        stages = expand_arch(arch, 'hst')
    backbone['stages'] = unshared(stages)
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
            memory='packed',
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


def with_neck():
    model = tiny_arch()
    norm_cfg = dict(type='GN', num_groups=2, eps=1e-5)
    init_cfg = [dict(type='Kaiming', layer=['Conv2d'], a=0.1)]
    membrane = dict(residual='membrane', in_neuron=dict(type='PLIFNeuron', init_tau=2.0))
    leak = dict(type='BatchLeakingNeuron', neuron=dict(type='IFNeuron', v_reset=None))
    units = [
        dict(channels=8, stride=2, fire='none'),
        dict(channels=8, padding=1, groups=2, fire='first'),
    ]
    shortcut = dict(kernel_size=1, bias=True)
    block = [
        dict(type='QKChannelAttention', v_threshold=0.25, **membrane),
        dict(type='SpikingMLP', ratio=2, norm_cfg=norm_cfg, init_cfg=init_cfg),
    ]
    spikes = [
        dict(
            type='SpikingSelfAttention',
            num_heads=2,
            scale=0.25,
            contraction='kv_first',
            residual='and',
        ),
        dict(type='SpikingMLP', ratio=1, residual='iand', out_neuron=leak),
    ]
    stages = [
        dict(
            embed=dict(type='ConvEmbed', units=units, shortcut=dict(shortcut, stride=2)),
            block=block,
            channels=8,
            depth=1,
        ),
        dict(
            embed=dict(type='ConvEmbed', units=[dict(pool='after_neuron')]),
            block=spikes,
            channels=16,
            depth=1,
        ),
    ]
    backbone = dict(
        type='QKFormer',
        stages=stages,
        time_steps=2,
        out='spikes',
        out_indices=[0, 1],
        frozen_stages=0,
        norm_eval=True,
        release_batch_leak=False,
        init_cfg=init_cfg,
    )
    neck = dict(type='PEDSNeck', in_channels=[8, 16], widths=[24], pool='last', norm_cfg=norm_cfg)
    head = dict(type='SpikingClsHead', num_classes=3, in_channels=24, topk=[1, 2], cal_acc=True)
    return dict(model, backbone=backbone, neck=neck, head=head)


def quantised():
    model = with_neck()
    for part in ('backbone', 'neck', 'head'):
        model[part]['quant'] = dict(type='LSQ', bits=4)
    return model


GRAPHS = [
    *(lambda path=path: public(path) for path in PUBLIC),
    *(open_graph, tiny_arch, with_neck, quantised),
]


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


def spelt(path):
    """A path as errors have it."""
    return ''.join(f'[{key}]' if isinstance(key, int) else f'.{key}' for key in path)[1:]


def mutate(model, rng):
    """One mutation, in place; returns the path of the field and what was done with it."""
    path = rng.choice(list(places(model)))
    *parents, key = path
    node = model
    for parent in parents:
        node = node[parent]
    kind = rng.random()
    if kind < 0.1:
        del node[key]
        return spelt(path), 'deleted'
    if kind < 0.2 and isinstance(node, dict):
        node['nonsense'] = 3
        return spelt((*parents, 'nonsense')), 'added'
    node[key] = copy.deepcopy(rng.choice(VALUES))
    return spelt(path), f'set to {node[key]!r}'


def names_the_place(path, error):
    """Whether an error is about the field of a path, what that is in, or something inside of it."""
    found = A_FIELD.match(str(error))['path']
    # Another type knows other keys, which the error names
    shorter, longer = sorted((path.removesuffix('.type'), found), key=len)
    if longer == shorter or longer.startswith((f'{shorter}.', f'{shorter}[')):
        return True
    return any(re.fullmatch(pair, f'{path} {found}') for pair in ELSEWHERE)


def run(model):
    """A forward pass and a training step."""
    backbone = model.backbone
    size = max(2 * backbone.strides[-1], 8)
    if size > 512 or backbone.time_steps > 64 or backbone.in_channels > 64:
        return
    model.init_weights()
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
    model = unshared(rng.choice(GRAPHS)())
    path, change = mutate(model, rng)
    done = f'seed {seed}: {path} {change}'
    torch.manual_seed(seed)
    error = raised_by(lambda: MODELS.build(model))
    if error is None:
        torch.manual_seed(seed)
        built = MODELS.build(model)
        error = raised_by(lambda: run(built))
        # Only a pass can tell that neck or head ask for other features than the backbone has
        asks = r'head\.|neck\.|backbone\.out='
        if 'quant' in model['backbone']:
            # and a quantiser that all weights are initialised to 0
            asks += r'|^backbone\..*\.alpha=0:'
        fits = isinstance(error, ValueError) and re.search(asks, str(error))
        assert error is None or fits, f'{done} runs into {error!r}'
        return 'built'
    assert isinstance(error, ConfigError), f'{done}: {error!r}'
    assert A_FIELD.match(str(error)), f'{done}: {error}'
    assert names_the_place(path, error), f'{done}: {error}'
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
