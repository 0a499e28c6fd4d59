"""Memory of a training step, against counts by hand, real runs and PyTorch's own profiler."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from mmqkformer.analysis import LiveBytes, memory, micro_batches, training_memory
from mmqkformer.analysis.batches import training_size

ROOT = Path(__file__).parents[2]
IMAGES = 1000


class Perceptron(BaseModel):
    """12 -> 5 -> 2 numbers an image: 4 tensors, 77 parameters."""

    def __init__(self, data_preprocessor, inplace=False):
        super().__init__(data_preprocessor=data_preprocessor)
        self.first = nn.Linear(12, 5)
        self.relu = nn.ReLU(inplace)
        self.second = nn.Linear(5, 2)
        self.register_buffer('count', torch.zeros(3))

    def forward(self, inputs, data_samples, mode):
        return dict(loss=self.second(self.relu(self.first(inputs.flatten(1)))).sum())


class Convolution(BaseModel):
    """3 -> 4 channels of 2 x 2 pixels."""

    def __init__(self, data_preprocessor):
        super().__init__(data_preprocessor=data_preprocessor)
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)

    def forward(self, inputs, data_samples, mode):
        return dict(loss=self.conv(inputs).relu().sum())


def config(model=Perceptron, **keys):
    return Config(
        dict(
            default_scope='mmpretrain',
            model=model if isinstance(model, dict) else dict(type=model),
            data_preprocessor=dict(type='ClsDataPreprocessor'),
            train_dataloader=dict(batch_size=IMAGES),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
            **keys,
        )
    )


def parts(cfg, gpus=1):
    return training_memory(cfg, (2, 2), gpus).parts


def test_two_linear_layers_by_hand():
    """The peak is behind the backward pass of ReLU: the gradients on both of its sides live."""
    counted = parts(config())
    image, hidden = IMAGES * 12 * 4, IMAGES * 5 * 4
    assert counted['parameters'] == 77 * 4
    assert counted['buffers'] == 3 * 4
    assert counted['gradients'] == (5 * 2 + 2) * 4  # the second layer's
    # And some numbers, such as the loss
    assert 0 <= counted['saved'] - (image + hidden) < 64
    assert 0 <= counted['working'] - 2 * hidden < 64
    assert not counted.keys() & {'optimizer', 'average', 'buckets'}


def test_a_convolution_by_hand():
    counted = parts(config(Convolution))
    image, output = IMAGES * 12 * 4, IMAGES * 16 * 4
    assert counted['parameters'] == 4 * 27 * 4
    assert 0 <= counted['saved'] - (image + output) < 64
    assert 0 <= counted['working'] - output < 64


def test_a_convolution_in_mixed_precision_by_hand():
    cfg = config(Convolution)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='float16')
    counted = parts(cfg)
    # The batch is there in float32 too, and the convolution keeps its weight in float16
    image, output = IMAGES * 12 * (4 + 2), IMAGES * 16 * 2
    assert 0 <= counted['saved'] - (image + output + 4 * 27 * 2) < 64


@pytest.mark.parametrize(
    ('optimizer', 'states'),
    [
        (dict(type='SGD', lr=0.1), 0),
        (dict(type='SGD', lr=0.1, momentum=0.9), 77 * 4),
        # Two moments, and the number of steps of each of the four tensors
        (dict(type='AdamW', lr=0.1), 2 * 77 * 4 + 4 * 4),
        (dict(type='AdamW', lr=0.1, amsgrad=True), 3 * 77 * 4 + 4 * 4),
    ],
)
def test_states_are_those_of_the_optimizer(optimizer, states):
    cfg = config()
    cfg.optim_wrapper.optimizer = optimizer
    assert parts(cfg).get('optimizer', 0) == states


def test_an_average_is_a_second_model():
    counted = parts(config(custom_hooks=[dict(type='OptimStepEMAHook', momentum=0.1)]))
    assert counted['average'] == (77 + 3) * 4
    assert 'average' not in parts(config(custom_hooks=[dict(type='IterationSeedHook')]))


def test_accumulated_gradients_are_there_before_the_forward_pass():
    cfg = config()
    cfg.optim_wrapper.accumulative_counts = 2
    assert parts(cfg)['gradients'] == 77 * 4


def test_data_parallelism_has_a_second_copy_of_the_gradients():
    cfg = config()
    assert parts(cfg, gpus=2)['buckets'] == 77 * 4
    cfg.model_wrapper_cfg = dict(gradient_as_bucket_view=True)
    assert 'buckets' not in parts(cfg, gpus=2)


def test_frozen_parameters_have_no_gradients():
    class Frozen(Perceptron):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.second.requires_grad_(False)

    cfg = config(Frozen)
    cfg.optim_wrapper.update(accumulative_counts=2, optimizer=dict(type='AdamW', lr=0.1))
    counted = parts(cfg, gpus=2)
    assert counted['gradients'] == counted['buckets'] == 65 * 4
    assert counted['optimizer'] == 2 * 65 * 4 + 2 * 4


def test_in_place_layers_keep_no_second_output():
    cfg = config()
    plain = training_memory(cfg, (2, 2), 1)
    cfg.model.inplace = True
    cfg.train_dataloader.batch_size = 2 * IMAGES
    assert training_memory(cfg, (2, 2), 1).total < 2 * plain.total


def test_the_number_of_gpus_is_told_by_the_effective_batch():
    cfg = config(auto_scale_lr=dict(base_batch_size=6 * IMAGES))
    cfg.optim_wrapper.accumulative_counts = 2
    assert training_memory(cfg, (2, 2)).gpus == 3
    cfg.auto_scale_lr.base_batch_size = 7 * IMAGES
    with pytest.raises(ValueError, match=r'base_batch_size=7000: expected a multiple of the 2000'):
        training_memory(cfg, (2, 2))


# A small QKFormer


class Data:
    """In the place of ``FakeTensorMode``: tensors keep their data."""

    @staticmethod
    def from_tensor(tensor):
        return tensor


def qkformer(**keys):
    cfg = config(
        dict(
            type='ImageClassifier',
            backbone=dict(
                type='QKFormer',
                arch=dict(
                    embed_dims=[16, 32],
                    depths=[1, 1],
                    num_heads=[2, 2],
                    mlp_ratios=[2, 2],
                    attentions=['QKTokenAttention', 'SpikingSelfAttention'],
                    stem=dict(channels=[8, 16], pools=[False, True], shortcut_from=1),
                    pool='last',
                ),
                time_steps=2,
            ),
            head=dict(type='SpikingClsHead', num_classes=10, in_channels=32),
        ),
        auto_scale_lr=dict(base_batch_size=32),
        pipeline=[dict(type='RandomCrop', crop_size=32)],
    )
    cfg.train_dataloader.update(batch_size=32, dataset=dict(pipeline=cfg.pipeline))
    cfg.merge_from_dict(keys)
    return cfg


@pytest.mark.parametrize(
    'keys',
    [
        {},
        {'model.backbone.with_cp': True},
        {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'},
        {'model.backbone.neuron': dict(type='PLIFNeuron'), 'optim_wrapper.accumulative_counts': 4},
        {'model.backbone.quant': dict(type='LSQ')},
        {'model.backbone.memory': 'packed'},
        {
            'model.backbone.memory': 'recompute',
            'optim_wrapper.type': 'AmpOptimWrapper',
            'optim_wrapper.dtype': 'bfloat16',
        },
        {'model.backbone.memory': 'packed', 'model.backbone.with_cp': True},
    ],
    ids=[
        *('plain', 'checkpointing', 'bfloat16', 'plif', 'lsq'),
        *('packed', 'recompute', 'packed-checkpointing'),
    ],
)
def test_the_count_is_that_of_a_real_run_and_of_the_profiler(keys, monkeypatch):
    cfg = qkformer(**keys)
    counted = training_memory(cfg, gpus=1)
    # Without data no tensor is found to be of whole numbers that is not known to be
    rel = 1e-3 if counted.memory is None else 2e-2
    monkeypatch.setattr(memory, '_strip_of_data', lambda model, live: Data)
    real = training_memory(cfg, gpus=1)
    assert counted.total == pytest.approx(real.total, rel=rel)

    run, profiled = memory._pass, []

    def run_profiled(live, model, batch, autocast):
        peak = now = live.now.total() + batch['inputs'].nbytes
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            run(live, model, batch, autocast)
        for event in profiler.profiler.kineto_results.events():
            if event.name() == '[memory]':
                now += event.nbytes()
                peak = max(peak, now)
        profiled.append(peak)

    monkeypatch.setattr(memory, '_pass', run_profiled)
    training_memory(cfg, gpus=1)
    # The profiler also sees what operators allocate inside
    assert counted.total == pytest.approx(profiled[0], rel=2 * rel)


@pytest.mark.parametrize(
    'path',
    [
        pytest.param('detection/retinanet_hst-3-128_fpn_digits', marks=pytest.mark.det),
        pytest.param('segmentation/fpn_hst-3-128_1xb8_digits', marks=pytest.mark.seg),
    ],
    ids=['detection', 'segmentation'],
)
def test_dense_models_count_like_real_runs(path, monkeypatch):
    """Of a detector the part behind the neck has data, of a segmentation model nothing."""
    cfg = Config.fromfile(ROOT / 'configs' / f'{path}.py')
    cfg.train_dataloader.batch_size = 2
    counted = training_memory(cfg, gpus=1)
    monkeypatch.setattr(memory, '_strip_of_data', lambda model, live: Data)
    assert counted.total == pytest.approx(training_memory(cfg, gpus=1).total, rel=1e-2)


def test_autocast_of_the_cpu_saves_what_that_of_cuda_saves():
    """The lists of their operators differ, but in none that keeps much; no GPU is needed."""

    def saved(device):
        mode = FakeTensorMode()
        with DefaultScope.overwrite_default_scope('mmpretrain'), mode, torch.device(device):
            model = MODELS.build(qkformer().model).train()
            x = torch.empty(32, 3, 32, 32)
        live = LiveBytes()
        live.label(model.parameters(), 'parameters')
        # torch.autocast would refuse CUDA where there is none
        torch.set_autocast_enabled(device, True)
        torch.set_autocast_dtype(device, torch.float16)
        torch.autocast_increment_nesting()
        try:
            with live:
                y = model.head(model.backbone(x)).float().mean()
        finally:
            torch.autocast_decrement_nesting()
            torch.clear_autocast_cache()
            torch.set_autocast_enabled(device, False)
        assert y.device.type == device
        return live.now['working']

    assert saved('cuda') == pytest.approx(saved('cpu'), rel=1e-3)


class Temporary(Perceptron):
    """Forgets most of its numbers before the gradients are computed."""

    def forward(self, inputs, data_samples, mode):
        many = inputs.detach().flatten(1).repeat(1, 100)
        return super().forward(inputs + many.mean(), data_samples, mode)


def test_a_peak_within_the_forward_pass_has_saved_nothing_yet():
    memory = training_memory(config(Temporary), (2, 2), 1)
    assert memory.parts['saved'] == 0
    assert memory.parts['working'] > IMAGES * 12 * 100 * 4
    assert memory.total == sum(memory.parts.values())


def test_marked_spikes_count_like_others():
    marked = training_memory(qkformer(**{'model.backbone.out': 'spikes'}), (8, 8))
    assert marked.parts['saved'] == pytest.approx(
        training_memory(qkformer(), (8, 8)).parts['saved'], rel=0.02
    )


def test_synchronised_norms_train_on_a_single_value_of_each_gpu():
    class Normalised(Perceptron):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.relu = nn.SyncBatchNorm(5)

    cfg = config(Normalised)
    cfg.train_dataloader.batch_size = 1
    assert parts(cfg, gpus=2)['parameters'] == (77 + 10) * 4


def test_micro_batches_of_the_same_step():
    cfg = qkformer()
    known = training_memory(cfg)
    found = list(islice(micro_batches(cfg, checkpointing=False, known=known), 2))
    assert [(m.images, m.micro_batches) for m in found] == [(32, 1), (16, 2)]
    assert found[0].total > found[1].total
    assert found[0] is known
    less = next(micro_batches(cfg, checkpointing=True))
    assert less.checkpointing
    assert less.total < found[0].total
    assert cfg.train_dataloader.batch_size == 32


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('qkformer/hst-10-384_8xb64_in1k', (224, 224)),
        ('qkformer/hst-10-768_8xb64_in1k-384px', (384, 384)),
        ('qkformer/hst-4-384_1xb64_cifar100', (32, 32)),
        ('qkformer/hst-3-128_1xb64_digits', (8, 8)),
        pytest.param(
            'detection/mask-rcnn_hst-10-384_fpn_1x_coco', (800, 1333), marks=pytest.mark.det
        ),
        pytest.param(
            'segmentation/fpn_hst-10-384_4xb5-160k_ade20k-512x512',
            (512, 512),
            marks=pytest.mark.seg,
        ),
    ],
)
def test_the_size_is_what_the_training_pipeline_makes(name, size):
    assert training_size(Config.fromfile(ROOT / 'configs' / f'{name}.py')) == size


@pytest.mark.parametrize(
    ('transform', 'size'),
    [
        (dict(type='RandomResize', scale=(200, 100), ratio_range=(0.5, 2.0)), (200, 400)),
        (dict(type='RandomChoiceResize', scales=[(64, 32), (90, 48)]), (48, 90)),
        (dict(type='RandomCrop', crop_size=(32, 64)), (32, 64)),
        (
            dict(
                type='RandomChoice',
                transforms=[
                    [dict(type='Resize', scale=(64, 32))],
                    [dict(type='Resize', scale=(70, 40)), dict(type='RandomFlip')],
                    [dict(type='RandomFlip')],
                ],
            ),
            (40, 70),
        ),
        (dict(type='RandomChoice', transforms=[[dict(type='RandomFlip')]]), (512, 512)),
        (dict(type='EventsToFrames', time_steps=4, size=(34, 36)), (34, 36)),
    ],
)
def test_sizes_of_transforms(transform, size):
    last = [dict(type='Resize', scale=512), transform, dict(type='PackInputs')]
    wrapped = dict(dataset=dict(dataset=dict(pipeline=last)))
    assert training_size(Config(dict(train_dataloader=wrapped))) == size


def test_frames_of_events_have_the_sensors_size():
    cfg = qkformer(**{'model.backbone.in_channels': 2})
    cfg.data_preprocessor.type = 'EventDataPreprocessor'
    del cfg.train_dataloader.dataset
    with pytest.raises(ValueError, match=r'no transform states the size.*--size HEIGHT WIDTH'):
        training_memory(cfg)
    one, two = (training_memory(cfg, (16, 16 * n)) for n in (1, 2))
    assert two.size == (16, 32)
    assert two.parts['saved'] == pytest.approx(2 * one.parts['saved'], rel=0.05)
