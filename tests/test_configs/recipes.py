"""What the tests of the configs share: their names, their schedules, the recipes of papers."""

import re
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from zoo import classifier_configs

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(p.removeprefix('configs/').removesuffix('.py') for p in classifier_configs())
TRAINED = [name for name in CONFIGS if '288px' not in name]

# Rates at epoch 0, at the peak and at the end, epochs of warm-up and cosine; ImageNet's
# augmentation: crops, magnitude of RandAugment, whether it erases, what mixes the batch, how often
# and until which epoch; the short edge of test images. Where they differ: epochs behind a cosine by
# epoch, how far the schedule is ahead, steps in its place, whether norms and biases decay, whether
# CIFAR's images are erased
_SDT = dict(optimizer='Lamb', decay=0.01, epochs=(20, 300), batch=384, erase=False, edge=235)
_SDT_MIX = ('Mixup', 0.2), ('CutMix', 1.0)
_META = dict(optimizer='Lamb', decay=0.05, crop=(0.08, 1.0), magnitude=9, erase=True, edge=256)
_E_LARGE = dict(epochs=(10, 150), batch=1024, mix=(('Mixup', 0.8), ('CutMix', 1.0), 1.0))
_SMALL = dict(optimizer='AdamW', decay=0.01, cooldown=0, erases=False)
_RESFORMER = dict(
    _SMALL,
    epochs=(3, 320),
    crop=(0.08, 1.0),
    magnitude=7,
    mix=(*_SDT_MIX, 1.0),
    erase=False,
    edge=235,
)
_MAX = dict(_META, optimizer='AdamW', epochs=(5, 200), batch=512)
_MAX_CIFAR = dict(optimizer='AdamW', decay=0.06, epochs=(20, 400))
_MAX_EVENTS = dict(
    optimizer='AdamW',
    decay=0.06,
    batch=16,
    rates=(1e-5, 5e-3, 1e-5),
    mix=(('Mixup', 0.5), ('CutMix', 0.1), 0.5),
)


def _max_mix(alpha):
    return ('Mixup', alpha), ('CutMix', 1.0), 0.5


RECIPES = {
    r'sdt_v1/.*-8-(384|512)_.*in1k': dict(
        _SDT, rates=(1e-5, 1.5e-3, 1.5e-5), crop=(0.2, 1.0), magnitude=5, mix=(*_SDT_MIX, 0.6)
    ),
    r'sdt_v1/.*-6-512_.*in1k': dict(
        _SDT, rates=(1e-5, 1e-3, 2e-5), crop=(0.08, 1.0), magnitude=7, mix=(*_SDT_MIX, 0.6)
    ),
    r'sdt_v1/.*-10-512_.*in1k': dict(
        _SDT,
        batch=288,
        rates=(1e-5, 1e-3, 2e-5),
        crop=(0.2, 1.0),
        magnitude=7,
        mix=(*_SDT_MIX, 0.75),
    ),
    r'sdt_v1/.*-8-768_.*in1k': dict(
        _SDT,
        batch=288,
        rates=(1e-5, 1e-3, 2e-5),
        crop=(0.08, 1.0),
        magnitude=7,
        mix=(*_SDT_MIX, 1.0),
    ),
    r'sdt_v1/.*cifar100?$': dict(
        optimizer='AdamW', decay=0.06, epochs=(20, 300), batch=64, rates=(1e-6, 3e-4, 1e-5)
    ),
    r'sdt_v1/.*cifar10dvs': dict(
        optimizer='AdamW', decay=1e-4, epochs=(10, 200), batch=32, rates=(1e-3, 7.5e-3, 3e-4)
    ),
    r'sdt_v1/.*-t10_.*dvs128': dict(
        optimizer='Lamb', decay=1e-4, epochs=(10, 200), batch=16, rates=(1e-5, 2e-3, 2e-5)
    ),
    r'sdt_v1/.*-t16_.*dvs128': dict(
        optimizer='Lamb', decay=0.06, epochs=(10, 200), batch=16, rates=(1e-5, 3e-4, 2e-5)
    ),
    r'spikingresformer/.*-(ti|s)_.*in1k': dict(_RESFORMER, batch=256, rates=(1e-5, 1e-3, 1e-5)),
    r'spikingresformer/.*-m_.*in1k': dict(
        _RESFORMER, batch=224, rates=(1e-5, 8e-4, 1e-5), magnitude=9
    ),
    r'spikingresformer/.*-l_.*in1k': dict(
        _RESFORMER, batch=128, rates=(1e-5, 5e-4, 1e-5), magnitude=9, policies=3
    ),
    r'spikingresformer/.*cifar_.*cifar100?$': dict(
        _SMALL, epochs=(3, 600), batch=128, rates=(1e-5, 5e-4, 1e-5)
    ),
    r'spikingresformer/.*cifar10-128px': dict(
        _SMALL, epochs=(3, 100), batch=128, rates=(1e-5, 1e-4, 1e-5)
    ),
    r'spikingresformer/.*cifar100-128px': dict(
        _SMALL, epochs=(3, 150), batch=128, rates=(1e-5, 1e-4, 1e-5)
    ),
    r'spikingresformer/.*-cifar-t16_.*cifar10dvs': dict(
        _SMALL, decay=0.05, epochs=(3, 300), batch=8, rates=(1e-5, 5e-4, 1e-5)
    ),
    r'spikingresformer/.*-gesture-t16_.*dvs128': dict(
        _SMALL, decay=0.05, epochs=(3, 300), batch=8, rates=(1e-5, 1e-4, 1e-5)
    ),
    r'spikingresformer/.*-t10_.*cifar10dvs': dict(
        _SMALL, epochs=(3, 100), batch=48, rates=(1e-5, 4e-5, 1e-5)
    ),
    r'spikingresformer/.*-t10_.*dvs128': dict(
        _SMALL, decay=0.05, epochs=(3, 100), batch=48, rates=(1e-5, 1e-4, 1e-5)
    ),
    r'sew_resnet/.*in1k': dict(
        optimizer='SGD', decay=0.0, epochs=(0, 320), batch=256, rates=(0, 0.1, 0), cooldown=0
    ),
    r'sew_resnet/.*cifar10dvs': dict(
        optimizer='SGD', decay=0.0, epochs=(0, 64), batch=16, rates=(0, 0.01, 0), cooldown=0
    ),
    r'sew_resnet/.*dvs128': dict(
        optimizer='SGD', decay=0.0, epochs=(0, 192), batch=16, rates=(0, 1e-3, 0), step=64
    ),
    r'ms_resnet/.*in1k': dict(
        optimizer='SGD',
        decay=1e-5,
        epochs=(0, 125),
        batch=256,
        rates=(0, 0.1, 0),
        cooldown=0,
        ahead=1,
        decays_all=True,
    ),
    r'meta_spikeformer/.*-t1_': dict(_META, epochs=(10, 200), batch=1024, rates=(0, 2.4e-3, 1e-6)),
    r'meta_spikeformer/.*-t4(-distilled)?_': dict(
        _META, epochs=(5, 50), batch=192, rates=(0, 1.5e-5, 1e-6)
    ),
    r'e_spikeformer/.*xb256_': dict(
        _META, epochs=(5, 200), batch=2048, rates=(0, 4.8e-3, 1e-6), edge=232
    ),
    r'e_spikeformer/.*xb128_': dict(_META, **_E_LARGE, rates=(0, 2.4e-3, 1e-6), edge=232),
    r'qsd/.*in1k': dict(_META, epochs=(15, 300), batch=1568, rates=(0, 3.675e-3, 1e-6)),
    r'qsd/.*cifar': dict(
        optimizer='AdamW',
        decay=0.01,
        epochs=(0, 100),
        batch=128,
        rates=(1e-4, 1e-4, 1e-6),
        erases=False,
    ),
    r'max_former/.*-10-384_': dict(_MAX, rates=(0, 2.7e-3, 2.5e-6), mix=_max_mix(0.25)),
    r'max_former/.*-10-512_': dict(_MAX, rates=(0, 2.7e-3, 1e-6), mix=_max_mix(0.4)),
    r'max_former/.*-10-512-t1_': dict(_MAX, rates=(0, 2.4e-3, 1e-5), mix=_max_mix(0.2)),
    r'max_former/.*-10-768_': dict(_MAX, rates=(0, 2.7e-3, 1e-5), mix=_max_mix(0.8)),
    r'max_former/.*-10-768-t1_': dict(_MAX, rates=(0, 2.4e-3, 1e-5), mix=_max_mix(0.8)),
    r'max_former/.*cifar10$': dict(
        _MAX_CIFAR,
        batch=128,
        rates=(8e-5, 1.5e-3, 1e-5),
        mix=(('Mixup', 0.5), ('CutMix', 0.5), 1.0),
    ),
    r'max_former/.*cifar100$': dict(
        _MAX_CIFAR,
        batch=64,
        rates=(1e-5, 1.5e-3, 1e-5),
        mix=(('Mixup', 0.75), ('CutMix', 0.5), 1.0),
    ),
    r'max_former/.*cifar10dvs': dict(_MAX_EVENTS, epochs=(10, 96), mix_until=75),
    r'max_former/.*dvs128': dict(_MAX_EVENTS, epochs=(10, 150), mix_until=90),
    r'stsa/': dict(
        optimizer='AdamW', decay=1e-4, epochs=(0, 1000), cooldown=0, batch=32, rates=(0, 1e-2, 1e-6)
    ),
}


def recipe_of(name):
    """The first recipe whose pattern fits the config's name, or None."""
    return next((recipe for key, recipe in RECIPES.items() if re.match(key, name)), None)


# Those of QKFormer and Spikformer are tested one by one
OTHERS = [name for name in TRAINED if recipe_of(name) is None]


def weight_decay(name):
    """The decay of weights with more than one axis."""
    recipe = recipe_of(name)
    return recipe['decay'] if recipe else 0.05 if 'in1k' in name else 0.06


def load(name):
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


def effective_batch(name, cfg):
    """Samples of an optimizer step, on the GPUs that the name says."""
    gpus = int(name.rsplit('/')[-1].split('_')[1].split('xb')[0])
    return gpus * cfg.train_dataloader.batch_size * cfg.optim_wrapper.get('accumulative_counts', 1)


def rates(cfg, epoch_length):
    """Learning rates at the start of each epoch, and of every step of the schedule."""
    optimizer = torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr
    )
    arguments = dict(cfg.param_scheduler)
    optimizer = OptimWrapper(
        optimizer, accumulative_counts=cfg.optim_wrapper.get('accumulative_counts', 1)
    )
    cls = PARAM_SCHEDULERS.get(arguments.pop('type'))
    if arguments.pop('convert_to_iter_based', False):
        scheduler = cls.build_iter_from_epoch(optimizer, epoch_length=epoch_length, **arguments)
        steps = epoch_length
    else:
        scheduler, steps = cls(optimizer, **arguments), 1
    values = []
    for _ in range(cfg.train_cfg.max_epochs * steps):
        values.append(optimizer.param_groups[0]['lr'])
        optimizer.optimizer.step()
        scheduler.step()
    return values[::steps], values
