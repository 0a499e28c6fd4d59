"""Every config of classification: exact parameters, pipelines, optimizer and schedule."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from event_streams import random_events
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
from parameters import PARAMETERS
from PIL import Image
from recipes import (
    CONFIGS,
    OTHERS,
    ROOT,
    TRAINED,
    effective_batch,
    load,
    rates,
    recipe_of,
    weight_decay,
)
from zoo import FAMILIES

import mmqkformer  # noqa: F401
from mmqkformer.datasets.samplers import SeededIndex
from mmqkformer.engine.launch import adapt_to_cpu
from mmqkformer.models.shrink import shrink_classifier


def index():
    """Metadata of the index by the path of the config."""
    found = {}
    for family in FAMILIES:
        metafile = yaml.safe_load((ROOT / 'configs' / family / 'metafile.yml').read_text())
        found |= {model['Config']: model['Metadata'] for model in metafile['Models']}
    return found


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def test_what_the_paper_and_the_release_count_is_still_there():
    assert set(PARAMETERS) <= set(CONFIGS)


@pytest.mark.parametrize('name', CONFIGS)
def test_parameters(name):
    with torch.device('meta'):
        model = MODELS.build(load(name).model)
    count = sum(p.numel() for p in model.parameters())
    assert count == index()[f'configs/{name}.py']['Parameters']
    # Of the first configs the counts were worked out from the paper, too
    assert count == PARAMETERS.get(name, count)


@pytest.mark.parametrize('name', TRAINED)
def test_names_tell_the_effective_batch(name):
    cfg = load(name)
    per_gpu = int(name.rsplit('/')[-1].split('xb')[1].split('_')[0])
    sampler = cfg.train_dataloader.sampler
    counts = cfg.optim_wrapper.get('accumulative_counts', 1)
    assert cfg.train_dataloader.batch_size * counts == per_gpu == sampler.multiple_of
    assert effective_batch(name, cfg) == cfg.auto_scale_lr.base_batch_size
    assert cfg.train_dataloader.drop_last


@pytest.mark.parametrize('name', TRAINED)
def test_no_decay_on_parameters_of_one_axis_or_none(name):
    """But where a release decays everything."""
    cfg = load(name)
    flat = (recipe_of(name) or {}).get('decays_all', False)
    adapt_to_cpu(cfg)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    decays = {p: group['weight_decay'] for group in wrapper.param_groups for p in group['params']}
    base = cfg.optim_wrapper.optimizer.weight_decay
    assert base == weight_decay(name)
    for key, parameter in model.named_parameters():
        assert decays[parameter] == (base if flat or parameter.dim() > 1 else 0), key
    learnt = 'PLIFNeuron' in str(cfg.model)
    assert any(p.dim() == 0 for p in model.parameters()) == learnt
    assert len(wrapper.optimizer.param_groups) == (1 if flat else 3 if learnt else 2)
    if flat:
        return
    # Few groups, with the options that mmengine gives each parameter one by one
    assert cfg.optim_wrapper.constructor == 'MergedOptimWrapperConstructor'
    cfg.optim_wrapper.constructor = 'DefaultOptimWrapperConstructor'
    single = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    options = {group['params'][0]: {**group, 'params': None} for group in single}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            assert options.pop(parameter) == {**group, 'params': None}
    assert not options


QKFORMER_IN1K = [name for name in TRAINED if re.match('qkformer/.*in1k', name)]


@pytest.mark.parametrize('name', QKFORMER_IN1K)
def test_qkformers_imagenet_schedule(name):
    cfg = load(name)
    peak = 6e-4 * effective_batch(name, cfg) / 256
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(peak)
    starts, every = rates(cfg, 48)
    if '384px' in name:
        assert len(starts) == 10
        assert starts[1] == pytest.approx(6.2e-6, rel=0.02)
        assert every[-1] < 5.3e-7
        return
    assert len(starts) == 200
    assert starts[0] == 0
    assert starts[1] == pytest.approx(peak / 5)
    assert max(every) == starts[5] == pytest.approx(peak)
    middle = 1e-6 + (peak - 1e-6) / 2 * (1 + np.cos(np.pi * 95 / 195))
    assert starts[100] == pytest.approx(middle)
    assert every[-1] == pytest.approx(1e-6, rel=0.1)


@pytest.mark.parametrize('name', [name for name in OTHERS if 'dvs' in name])
def test_event_schedule(name):
    cfg = load(name)
    starts, _ = rates(cfg, 1)
    epochs, peak, last = (96, 5e-3, 1e-5) if 'cifar10dvs' in name else (192, 1e-3, 2e-5)
    if not re.match('(qkformer|spikformer)/', name):
        # Theirs is the recipe of Spikformer's release; Spikformer's here is QKFormer's
        peak, last = 1e-3, 1e-5
    assert len(starts) == epochs + 10
    for epoch in (0, 3, 9):
        assert starts[epoch] == pytest.approx(1e-5 + (peak - 1e-5) * epoch / 10)
    for epoch in (10, 50, epochs - 1):
        cosine = last + (peak - last) / 2 * (1 + np.cos(np.pi * epoch / epochs))
        assert starts[epoch] == pytest.approx(cosine)
    assert starts[epochs:] == [last] * 10
    (hook,) = cfg.custom_hooks
    assert hook == dict(
        type='SwitchRecipeHook', schedule=[dict(action_epoch=76, batch_augments=None)]
    )
    assert cfg.data_preprocessor.batch_augments == dict(
        augments=dict(type='Mixup', alpha=0.5), probs=0.5
    )


@pytest.mark.parametrize('name', [name for name in TRAINED if 'events' in name or 'dvs' in name])
def test_the_data_has_the_networks_time_steps(name):
    cfg = load(name)
    for split in ('train', 'val', 'test'):
        pipeline = cfg[f'{split}_dataloader'].dataset.pipeline
        (to_frames,) = [step for step in pipeline if step.type == 'EventsToFrames']
        assert to_frames.time_steps == cfg.model.backbone.time_steps


CIFAR = [name for name in TRAINED if 'cifar' in name and 'dvs' not in name]


@pytest.mark.parametrize('name', [name for name in CIFAR if name in OTHERS])
def test_cifar_schedule(name):
    cfg = load(name)
    starts, _ = rates(cfg, 1)
    peak = 1e-3 if name.startswith('qkformer/') else 5e-4
    # Spikformer's own number of epochs; the QKFormer paper trains it for 400
    epochs = 300 if name.endswith('spikformer-4-384_1xb128_cifar10') else 400
    assert len(starts) == epochs + 10
    assert starts[0] == pytest.approx(1e-5)
    assert starts[10] == pytest.approx((1e-5 + peak) / 2)
    for epoch in (20, 150, epochs - 1):
        cosine = 1e-5 + (peak - 1e-5) / 2 * (1 + np.cos(np.pi * epoch / epochs))
        assert starts[epoch] == pytest.approx(cosine)
    assert starts[epochs:] == [1e-5] * 10
    # Printed by a run of CML-Spikformer
    printed = {1: 3.45e-5, 8: 2.06e-4, 183: 2.876e-4, 200: 2.55e-4, 207: 2.415e-4}
    for epoch, rate in printed.items() if (peak, epochs) == (5e-4, 400) else ():
        assert starts[epoch] == pytest.approx(rate, rel=5e-4)
    # Every batch is mixed, to the end: the release's switch reaches no worker
    assert cfg.data_preprocessor.batch_augments == dict(augments=dict(type='Mixup', alpha=0.5))
    hooks = [*cfg.get('custom_hooks', []), *cfg.default_hooks.values()]
    assert not any(hook.type == 'SwitchRecipeHook' for hook in hooks)


@pytest.mark.parametrize('name', CONFIGS)
def test_averages_and_leaks(name):
    """Releases have no average; QKFormer's leaks, and its main ImageNet configs average instead."""
    cfg = load(name)
    averages = [h for h in cfg.get('custom_hooks', []) if h.type == 'OptimStepEMAHook']
    main_imagenet = 'in1k' in name and name.startswith('qkformer/hst')
    momenta = [1e-4] if main_imagenet else [0.02] if 'digits' in name else []
    assert [average.momentum for average in averages] == momenta
    best = 'accuracy_ema/top1' if momenta else 'accuracy/top1'
    assert cfg.default_hooks.checkpoint.save_best == best
    assert cfg.model.backbone.get('release_batch_leak', False) == ('release' in name)
    if 'release' in name:
        loader = cfg.test_dataloader
        assert loader.batch_size == cfg.train_dataloader.batch_size
        assert not loader.sampler.shuffle


@pytest.fixture(scope='module')
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp('image') / 'image.jpg'
    pixels = np.random.default_rng(0).integers(0, 255, (300, 411, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def sample(cfg, image, size):
    info = dict(img_path=str(image), gt_label=1, sample_idx=SeededIndex(0, 0, 0))
    if cfg.data_preprocessor.type == 'EventDataPreprocessor':
        info['events'] = random_events(3000, (size, size))
        return info
    if 'in1k' not in cfg.filename:
        info['img'] = np.asarray(Image.open(image).resize((size, size)))
        info['img_shape'] = info['ori_shape'] = (size, size)
    return info


def side(name):
    """Pixels of a side of the small data sets."""
    for step in load(name).train_dataloader.dataset.pipeline:
        if step.type == 'EventsToFrames' and 'size' in step:
            return step.size[0]
        if step.type == 'Resize':
            return step.scale[0]
    sides = {'events': 34, 'dvs': 128, 'digits': 8, '128px': 128, 'cifar': 32}
    return next((pixels for word, pixels in sides.items() if word in name), 224)


@pytest.mark.parametrize('name', CONFIGS)
def test_pipelines_and_training_step(name, image):
    """Images in, a finite loss and gradients out: the config's own pipeline and preprocessor.

    The network is the config's, narrow and shallow.
    """
    cfg = load(name)
    if 'in1k' in name:
        size = 288 if '288px' in name else 384 if '384px' in name else 224
    else:
        size = side(name)
    shapes = []
    channels = (3,)
    if 'dvs' in name or 'events' in name:
        channels = (load(name).model.backbone.time_steps, 2)
    for split in ('train', 'val', 'test'):
        pipeline = Compose(cfg[f'{split}_dataloader'].dataset.pipeline)
        packed = pipeline(sample(cfg, image, size))
        shapes.append(tuple(packed['inputs'].shape))
        assert packed['inputs'].dtype == (torch.uint8 if channels == (3,) else torch.float32)
    trained = 224 if '288px' in name else size
    assert shapes == [(*channels, n, n) for n in (trained, size, size)]

    preprocessor = MODELS.build(cfg.data_preprocessor)
    train = Compose(cfg.train_dataloader.dataset.pipeline)
    batch = [train(sample(cfg, image, size)) for _ in range(2)]
    data = {key: [item[key] for item in batch] for key in batch[0]}
    data = preprocessor(data, training=True)
    taken = (*channels[:-1], cfg.model.backbone.get('in_channels', 3))
    assert data['inputs'].shape == (2, *taken, trained, trained)
    assert channels != (3,) or data['inputs'].abs().max() < 5
    # Smaller images: the largest models at full size would take a minute each
    stride = trained // 7 if 'in1k' in name else 4 if 'dvs' in name else 1
    model = MODELS.build(shrink_classifier(cfg.model.to_dict(), 64))
    stride = min(stride, trained // model.backbone.strides[-1]) if 'dvs' in name else stride
    inputs = data['inputs'][..., ::stride, ::stride]
    if 'in1k' in name:
        inputs = inputs.repeat_interleave(16, -1).repeat_interleave(16, -2)
    if hasattr(model, 'teacher'):
        # Its weights are downloaded
        model.teacher = lambda images: torch.zeros(len(images), dtype=torch.long)
    loss, _ = model.parse_losses(model(inputs, data['data_samples'], mode='loss'))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('name', TRAINED)
def test_a_sample_is_augmented_by_its_seed_alone(name, image):
    pipeline = Compose(load(name).train_dataloader.dataset.pipeline)
    cfg = load(name)
    size = side(name)
    first = pipeline(sample(cfg, image, size))['inputs']
    np.random.rand(3), torch.rand(5)
    again = pipeline(sample(cfg, image, size))['inputs']
    assert torch.equal(first, again)
    info = dict(sample(cfg, image, size), sample_idx=SeededIndex(0, 0, 1))
    others = [pipeline(dict(info, sample_idx=SeededIndex(0, 0, e)))['inputs'] for e in range(1, 9)]
    # SEW-ResNet's events are what was recorded
    plain = re.match('sew_resnet/.*dvs', name)
    assert any(not torch.equal(first, other) for other in others) == (not plain)


TIMM = [name for name in TRAINED if re.match('(spikformer|spikingformer|cml)/.*in1k', name)]


@pytest.mark.parametrize('name', TIMM)
def test_timms_recipe_for_imagenet(name):
    cfg = load(name)
    starts, _ = rates(cfg, 1)
    peak = cfg.optim_wrapper.optimizer.lr
    assert (peak, len(starts)) == (5e-4, 310)
    # Printed by a run of Spikingformer, whose schedule is the same
    printed = {0: 1e-6, 1: 2.595e-5, 19: 4.751e-4, 20: 4.946e-4, 100: 3.775e-4, 200: 1.325e-4}
    for epoch, rate in {**printed, 299: 1.001e-5, 300: 1e-5, 309: 1e-5}.items():
        assert starts[epoch] == pytest.approx(rate, rel=5e-4)
    augments = cfg.data_preprocessor.batch_augments
    assert [(a.type, a.alpha) for a in augments.augments] == [('Mixup', 0.8), ('CutMix', 1.0)]
    assert augments.probs == [0.5, 0.5]
    assert 'custom_hooks' not in cfg


@pytest.mark.parametrize('name', TIMM)
def test_timms_crops_keep_the_area(name, image):
    cfg = load(name)
    load_image, crop = map(TRANSFORMS.build, cfg.train_dataloader.dataset.pipeline[1:3])
    pixels = load_image(dict(img_path=str(image)))['img']
    # No other rectangle of the whole area lies in an image: its middle, no longer than 4 : 3
    assert {crop.rand_crop_params(pixels) for _ in range(50)} == {(0, 5, 300, 400)}
    resize, center = map(TRANSFORMS.build, cfg.test_dataloader.dataset.pipeline[1:3])
    assert resize(dict(img=pixels))['img'].shape == (224, 306, 3)
    assert center(resize(dict(img=pixels)))['img'].shape == (224, 224, 3)


ERASING = [name for name in CIFAR if (recipe_of(name) or {}).get('erases', True)]


def test_what_is_not_erased_has_no_box():
    for name in set(CIFAR) - set(ERASING):
        assert 'DrawErasing' not in str(load(name).train_dataloader)


@pytest.mark.parametrize('name', [*ERASING, *TIMM])
def test_erasing_comes_behind_the_mixing(name):
    """tests/test_models/test_erasing_data_preprocessor.py says how."""
    cfg = load(name)
    draw, pack = cfg.train_dataloader.dataset.pipeline[-2:]
    assert (draw.type, draw.erase_prob) == ('DrawErasing', 0.25)
    assert pack.algorithm_keys == ('erased_box',)
    assert cfg.data_preprocessor.type == 'ErasingDataPreprocessor'


def test_spikformers_linear_layers_start_from_a_truncated_normal():
    model = MODELS.build(load('spikformer/spikformer-4-384_1xb128_cifar100').model)
    model.init_weights()
    block = model.backbone.stages[0].blocks[2]
    for layer in (block.attention.query, block.attention.proj, block.mlp.fc1, block.mlp.fc2):
        assert layer.conv.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.conv.bias.abs().max() == 0
    # PyTorch's own: uniform within 1 / sqrt(fan in)
    stem = model.backbone.stages[0].embed.convs[3].conv.weight
    assert stem.abs().max().item() == pytest.approx((192 * 9) ** -0.5, rel=0.01)


def test_e_spikeformers_large_models_start_from_xaviers_classifier():
    model = MODELS.build(load('e_spikeformer/e-spikeformer-83m_8xb128_in1k').model)
    model.head.init_weights()
    assert model.head.fc.weight.abs().max().item() == pytest.approx((6 / 1512) ** 0.5, rel=1e-3)
    assert model.head.fc.bias.abs().max() == 0


def test_max_former_starts_from_a_truncated_normal_but_for_attention_and_classifier():
    model = MODELS.build(load('max_former/max-former-10-384_8xb64_in1k').model)
    model.init_weights()
    first, _, last = (stage.blocks[0] for stage in model.backbone.stages)
    stem = model.backbone.stages[0].embed.convs[2]
    for layer in (stem.conv, first.mixer.conv.conv, first.mlp.fc1.conv, last.mlp.fc2.conv):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.bias is None or layer.bias.abs().max() == 0
    # Uniform within 1 / sqrt(fan in)
    for layer in (last.attention.value.conv, last.attention.proj.conv, model.head.fc):
        assert layer.weight.abs().max().item() == pytest.approx(384**-0.5, rel=0.01)


def test_sdt_starts_from_a_truncated_normal_and_pytorchs_classifier():
    model = MODELS.build(load('sdt_v1/sdt-v1-2-256-t16_1xb16_dvs128').model)
    model.init_weights()
    block = model.backbone.stages[0].blocks[1]
    for layer in (block.attention.proj, block.mlp.fc1):
        assert layer.conv.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.conv.bias.abs().max() == 0
    # Uniform within 1 / sqrt(fan in)
    assert model.head.fc.weight.abs().max().item() == pytest.approx(256**-0.5, rel=0.01)


def metafiles():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    return [yaml.safe_load((ROOT / path).read_text()) for path in index['Import']]


def dense(model):
    return Path(model['Config']).parts[1] in ('detection', 'segmentation')


def test_the_index_and_the_configs_agree():
    models = [model for metafile in metafiles() for model in metafile['Models']]
    assert len({model['Name'] for model in models}) == len(models)
    models = [model for model in models if not dense(model)]
    listed = {model['Config'].removeprefix('configs/').removesuffix('.py') for model in models}
    assert sorted(listed) == CONFIGS
    for model in models:
        path = Path(model['Config'])
        family = path.parts[1]
        name = f'qkformer_{path.stem}' if family == 'qkformer' else path.stem
        assert model['Name'] == name + ('_release' if 'release' in path.parts else '')
        key = model['Config'].removeprefix('configs/').removesuffix('.py')
        metadata = model['Metadata']
        assert isinstance(metadata['FLOPs'], int)
        assert metadata['Time Steps'] == load(key).model.backbone.time_steps
        # Nothing counts as a result that nobody measured
        assert 'Results' not in model or 'digits' in key
        if family == 'qkformer' and any(field.startswith('Published') for field in metadata):
            assert '74.20 instead of 78.73' in metadata['Caveat']


def test_collections_point_to_pages_that_exist():
    for metafile in metafiles():
        for collection in metafile['Collections']:
            assert (ROOT / collection['README']).is_file()
            address = collection['Paper']['URL']
            assert address.startswith(('https://arxiv.org/abs/', 'https://doi.org/'))
