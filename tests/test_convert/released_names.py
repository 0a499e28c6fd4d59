"""Names and shapes of released state dicts of which no list is at hand, made from others."""

import re

import golden


def _events_keys(keys_file, classes):
    """The names of ImageNet's 8-384, at the shapes of 2-256 for events."""
    width = {48: 32, 96: 64, 192: 128, 384: 256, 1536: 1024, 1000: classes, 3: 3, 1: 1}
    keys = {
        name: [width[size] for size in shape]
        for name, shape in golden.released_keys(keys_file).items()
        if not re.match(r'block\.[2-7]\.', name)
    }
    keys['patch_embed.proj_conv.weight'][1] = 2
    return keys


def spikformer_events_keys():
    """Spikformer-2-256 for CIFAR10-DVS: 1-D convolutions, and a norm and positions never used."""
    keys = _events_keys('spikformer-8-384_in1k.keys.json', 10)
    for name, shape in keys.items():
        if name.endswith(('fc1_conv.weight', 'fc2_conv.weight')):
            shape.pop()
    return {**keys, 'pos_embed': [1, 64, 256], 'norm.weight': [256], 'norm.bias': [256]}


def cml_spikformer_cifar_keys():
    """CML-Spikformer-4-384 for CIFAR-10: other names of the patch splitting."""
    keys = golden.released_keys('spikformer-4-384_cifar100.keys.json')
    keys |= {'head.weight': [10, 384], 'head.bias': [10]}
    unit = re.compile(r'(?<=patch_embed\.)proj_(conv|bn)(\d?)')
    return {
        unit.sub(lambda match: f'block{int(match[2] or 0) + 1}_{match[1]}', name): shape
        for name, shape in keys.items()
    }


def spikingformer_events_keys():
    """Spikingformer-2-256 for DVS128 Gesture."""
    return _events_keys('spikingformer-8-384_in1k.keys.json', 11)


def meta_spikeformer_distilled_keys():
    """Meta-SpikeFormer with a second classifier."""
    keys = golden.released_keys('meta-spikeformer-15m_in1k.keys.json')
    return keys | {f'head_kd.{leaf}': keys[f'head.{leaf}'] for leaf in ('weight', 'bias')}


def spikingresformer_gesture_keys():
    """SpikingResformer for DVS128 Gesture: a small prologue, groups of 32, time constants."""
    widths = {size: size // 2 for size in (64, 128, 192, 256, 384, 768, 1536)} | {1000: 11}
    keys = golden.released_keys('spikingresformer-ti_in1k.keys.json')
    for shape in keys.values():
        shape[:2] = [widths.get(size, size) for size in shape[:2]]
    keys['prologue.0.weight'] = [32, 3, 3, 3]
    neurons = golden.load_case('spikingresformer-ti_in1k_t4_64px_b1')['firing_rates']
    return keys | {f'{neuron}.w': [] for neuron in neurons}


def _norm_keys(name, width):
    leaves = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{name}.{leaf}': [width] for leaf in leaves} | {f'{name}.num_batches_tracked': []}


def sew_resnet_18_keys():
    """SEW-ResNet-18 of a later SpikingJelly, whose container numbers its layers."""
    keys = golden.released_keys('sew-resnet34-add_in1k.keys.json')
    return {
        name.replace('.module', ''): shape
        for name, shape in keys.items()
        if not re.match(r'layer\d\.[2-5]\.', name)
    }


def sew_resnet_50_keys():
    """SEW-ResNet-50: bottlenecks, a shortcut with weights in every first block."""
    keys = golden.released_keys('sew-resnet34-add_in1k.keys.json')
    keys = {name: shape for name, shape in keys.items() if not name.startswith('layer')}
    keys['fc.weight'] = [1000, 2048]
    before = 64
    for i, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**i
        for j in range(blocks):
            block = f'layer{i + 1}.{j}'
            convs = {'conv1': (width, before, 1), 'conv2': (width, width, 3)}
            convs |= {'conv3': (4 * width, width, 1)}
            convs |= {'downsample.0': (4 * width, before, 1)} if j == 0 else {}
            for name, (out, in_, kernel) in convs.items():
                keys[f'{block}.{name}.module.0.weight'] = [out, in_, kernel, kernel]
                keys |= _norm_keys(f'{block}.{name}.module.1', out)
            before = 4 * width
    return keys


def sew_resnet_50_neurons():
    names = ['sn1']
    for i, blocks in enumerate((3, 4, 6, 3)):
        names += [f'layer{i + 1}.{j}.sn{k}' for j in range(blocks) for k in (1, 2, 3)]
        names.append(f'layer{i + 1}.0.downsample.1')
    return names


def ms_resnet_104_keys():
    """MS-ResNet-104, saved from several GPUs: three convolutions, then a norm; pooled shortcuts."""
    keys = golden.released_keys('ms-resnet18_in1k.keys.json')
    names = {
        'conv1.1.bn': 'conv1.3.bn',
        'shortcut.1.bn': 'shortcut.2.bn',
        'shortcut.0': 'shortcut.1',
    }
    renamed = {}
    for name, shape in keys.items():
        for old, new in names.items():
            if old in name:
                name = name.replace(old, new)
                break
        block = re.match(r'(conv(\d)_x)\.1\.(.*)', name)
        depth = (3, 8, 32, 8)[int(block[2]) - 2] if block else 0
        renamed |= {f'{block[1]}.{i}.{block[3]}': shape for i in range(1, depth)} or {name: shape}
    for i, in_ in enumerate((3, 64, 64)):
        renamed |= {f'conv1.{i}.weight': [64, in_, 3, 3], f'conv1.{i}.bias': [64]}
    return renamed


def sew_resnet_events_keys(widths, container, classes):
    """Names and shapes of SEW-ResNet for events, of blocks of these widths."""
    keys, before, number = {}, 2, 0
    units = {}
    for width in widths:
        if width != before:
            units[f'conv.{number}'] = (width, before, 1)
            number += 1
        units |= {f'conv.{number}.conv.{i}': (width, width, 3) for i in range(2)}
        before, number = width, number + 2
    for name, (out, in_, kernel) in units.items():
        keys[f'{name}.0{container}.0.weight'] = [out, in_, kernel, kernel]
        keys |= _norm_keys(f'{name}.0{container}.1', out) | {f'{name}.1.w': []}
    return keys | {'out.weight': [classes, before], 'out.bias': [classes]}


# Names of the neurons of forms without a golden case
NEURONS = {'sew-resnet-50_in1k': sew_resnet_50_neurons}


def max_former_cifar_keys():
    """Max-Former-4-384 for CIFAR-10: the stem of MS-QKFormer's, and ImageNet's embeddings."""
    wide = golden.released_keys('max-former-10-384_in1k.keys.json')
    keys = {
        name: shape
        for name, shape in golden.released_keys('ms-qkformer-4-384_cifar100.keys.json').items()
        if not re.match(r'patch_embed[23]|stage[12]\.0\.attn', name)
    }
    embeds = {n: shape for n, shape in wide.items() if re.match(r'patch_embed[23]', n)}
    mixer = {n: shape for n, shape in wide.items() if n.startswith('stage2.0.mixer')}
    mixer['stage2.0.mixer.conv.weight'] = [192, 1, 3, 3]
    return {**keys, **embeds, **mixer, 'head.weight': [10, 384], 'head.bias': [10]}


def max_former_events_keys():
    """Max-Former-2-256 for DVS128 Gesture."""
    convs = {
        'patch_embed1.proj_': (16, 2, 3, 3),
        'patch_embed1.max_embed1.embed_': (32, 16, 3, 3),
        'patch_embed1.max_embed2.embed_': (64, 32, 3, 3),
        'patch_embed1.max_embed3.embed_': (128, 64, 3, 3),
        'patch_embed1.embed1.embed_': (128, 32, 1, 1),
        'stage1.0.mixer.conv': (128, 1, 3, 3),
        'patch_embed2.max_embed1.embed_': (256, 128, 3, 3),
        'patch_embed2.embed1.embed_': (256, 256, 3, 3),
        'patch_embed2.max_embed2.embed_': (256, 128, 1, 1),
        **{f'stage2.0.attn.{layer}_': (256, 256, 1) for layer in ('q', 'k', 'v', 'proj')},
        **{
            f'stage{stage}.0.mlp.fc{layer}_': (width, width, 1, 1)
            for stage, width in ((1, 128), (2, 256))
            for layer in (1, 2)
        },
    }
    keys = {'head.weight': [11, 256], 'head.bias': [11]}
    for name, (channels, *rest) in convs.items():
        conv, norm = (name, f'{name}_bn') if 'mixer' in name else (f'{name}conv', f'{name}bn')
        keys[f'{conv}.weight'] = [channels, *rest]
        if re.search('mixer|proj_$|fc', name) and 'patch' not in name:
            keys[f'{conv}.bias'] = [channels]
        leaves = ('weight', 'bias', 'running_mean', 'running_var')
        keys |= {f'{norm}.{leaf}': [channels] for leaf in leaves}
        keys[f'{norm}.num_batches_tracked'] = []
    return keys


# Some neurons of forms without a golden case, by family
SOME_NEURONS = {
    'max_former_cifar': [
        'patch_embed1.embed1.embed_lif',
        'patch_embed2.max_embed1.embed_lif',
        'patch_embed2.embed1.embed_lif',
        'stage2.0.mixer.conv_neuron',
        'stage3.0.attn.x_lif',
        'stage3.0.attn.attn_lif',
        'stage1.0.mlp.fc1_lif',
        'stage1.0.mlp.fc2_lif',
        'head_lif',
    ],
    'max_former_events': [
        'patch_embed1.max_embed1.embed_lif',
        'patch_embed1.max_embed2.embed_lif',
        'patch_embed1.max_embed3.embed_lif',
        'patch_embed2.max_embed1.embed_lif',
        'patch_embed2.embed1.embed_lif',
        'stage1.0.mixer.conv_neuron',
        'stage2.0.attn.x_lif',
        'stage2.0.attn.attn_lif',
        'stage1.0.mlp.fc1_lif',
        'stage2.0.mlp.fc2_lif',
        'head_lif',
    ],
}
