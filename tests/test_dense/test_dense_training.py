"""What training does to a backbone in a detector or a segmentation model, through runners."""

import copy
import json

import numpy as np
import pytest
import torch
from dense import DETECTION, SEGMENTATION, build, detection_samples, load, total
from mmengine.config import Config
from mmengine.runner import Runner
from networks import awaken
from torch import nn

from mmqkformer.engine.launch import adapt_to_cpu

DIGITS_DET = next(path for path in DETECTION if 'digits' in path.stem)
DIGITS_SEG = next(path for path in SEGMENTATION if 'digits' in path.stem)
MASKS = next(path for path in DETECTION if path.stem == 'mask-rcnn_hst-10-384_peds-fpn_1x_coco')
det = pytest.param(DIGITS_DET, marks=pytest.mark.det, id='det')
seg = pytest.param(DIGITS_SEG, marks=pytest.mark.seg, id='seg')


def small(path, root, work_dir):
    """The digits config on a few images, one epoch, two images a batch, in this process."""
    cfg = load(path)
    cfg.merge_from_dict(
        dict(
            work_dir=str(work_dir),
            experiment_name=work_dir.name,
            train_cfg=dict(max_epochs=1, val_interval=1),
            param_scheduler=dict(warmup_epochs=0, max_epochs=1),
            default_hooks=dict(logger=dict(interval=1)),
        )
    )
    # mmengine keeps visualizers by name, for the whole process
    cfg.visualizer.name = str(work_dir)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = f'{root}/'
        evaluator = cfg.get(f'{split}_evaluator')
        if evaluator and 'ann_file' in evaluator:
            evaluator.ann_file = f'{root}/annotations/instances_{split}.json'
    cfg.train_dataloader.sampler.multiple_of = 4
    if 'test_cfg' in cfg.model and path in DETECTION:
        cfg.model.test_cfg.score_thr = 0.0  # mmdet gives no metrics where nothing is found
    return cfg


def train(cfg):
    adapt_to_cpu(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def scalars(runner):
    with open(f'{runner.log_dir}/vis_data/scalars.json') as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize('path', [det, seg])
def test_an_epoch_is_trained_evaluated_saved_and_tested(path, digits_coco, tmp_path):
    runner = train(small(path, digits_coco, tmp_path / 'run'))
    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)
    assert saved['meta']['dataset_meta']['classes'][-1] == '9'
    metric = 'coco/bbox_mAP_50' if path == DIGITS_DET else 'mIoU'
    assert metric in runner.test()


@pytest.mark.parametrize('path', [det, seg])
def test_the_average_is_validated_beside_the_raw_weights(path, digits_coco, tmp_path):
    cfg = small(path, digits_coco, tmp_path / 'run')
    cfg.custom_hooks = [dict(type='OptimStepEMAHook', momentum=0.1, num_samples=4)]
    raw, average = {
        DIGITS_DET: ('coco/bbox_mAP', 'coco_ema/bbox_mAP'),
        DIGITS_SEG: ('mIoU', 'mIoU_ema'),
    }[path]
    cfg.default_hooks.checkpoint.save_best = average
    validation = scalars(train(cfg))[-1]
    assert {raw, average} < set(validation)
    (best,) = (tmp_path / 'run').glob('best_*.pth')
    assert best.name == f'best_{average.replace("/", "_")}_epoch_1.pth'
    saved = torch.load(best, weights_only=True)
    statistics = [key for key in saved['state_dict'] if key.endswith('running_mean')]
    assert statistics
    for key in statistics:
        assert not torch.equal(saved['state_dict'][key], saved['ema_state_dict'][f'module.{key}'])


@pytest.mark.slow
@pytest.mark.parametrize('path', [det, seg])
def test_firing_rates_are_logged_and_the_training_stays_the_same(path, digits_coco, tmp_path):
    weights, logged = [], []
    for name, hooks in (('without', []), ('with', [dict(type='FiringRateHook', interval=3)])):
        cfg = small(path, digits_coco, tmp_path / name)
        cfg.custom_hooks = hooks
        runner = train(cfg)
        weights.append(list(runner.model.state_dict().values()))
        tag = 'firing_rate/backbone.stages.0.embed.convs.0.neuron'
        lines = scalars(runner)
        for phase in ('train', 'val'):
            steps = [line['step'] for line in lines if f'{phase}/{tag}' in line]
            logged.append((name, phase, steps))
    assert logged == [
        ('without', 'train', []),
        ('without', 'val', []),
        ('with', 'train', [3]),
        ('with', 'val', [1]),
    ]
    assert all(map(torch.equal, *weights))


def variants():
    """Changes of a config that must leave training possible, by name."""
    yield 'amp', dict(optim_wrapper=dict(type='AmpOptimWrapper'))
    yield 'accumulation', dict(optim_wrapper=dict(accumulative_counts=2))
    yield 'average', dict(custom_hooks=[dict(type='OptimStepEMAHook', momentum=0.1)])
    yield 'checkpointing', dict(model=dict(backbone=dict(with_cp=True)))
    yield 'frozen', dict(model=dict(backbone=dict(frozen_stages=1, norm_eval=True)))
    yield 'sync_bn', dict(model=dict(backbone=dict(norm_cfg=dict(type='SyncBN'))), sync_bn='torch')
    yield 'drop_path', dict(model=dict(backbone=dict(drop_path_rate=0.2)))
    yield (
        'stages',
        dict(
            optim_wrapper=dict(
                constructor='StageOptimWrapperConstructor',
                paramwise_cfg=dict(_delete_=True, stage_lr_decay=0.5),
            )
        ),
    )


@pytest.mark.parametrize('path', [det, seg])
@pytest.mark.parametrize(('name', 'change'), variants(), ids=[name for name, _ in variants()])
def test_an_epoch_with(name, change, path, digits_coco, tmp_path):
    cfg = small(path, digits_coco, tmp_path / name)
    cfg.merge_from_dict(dict(val_cfg=None, val_dataloader=None, val_evaluator=None))
    cfg.default_hooks.checkpoint.pop('save_best')
    cfg.merge_from_dict(change)
    runner = train(cfg)
    losses = [line['loss'] for line in scalars(runner) if 'loss' in line]
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


@pytest.mark.det
def test_frozen_stages_and_norm_eval_through_a_detectors_training(digits_coco, tmp_path):
    cfg = small(DIGITS_DET, digits_coco, tmp_path / 'frozen')
    cfg.merge_from_dict(dict(val_cfg=None, val_dataloader=None, val_evaluator=None))
    cfg.default_hooks.checkpoint.pop('save_best')
    cfg.model.backbone.update(frozen_stages=1, norm_eval=True)
    adapt_to_cpu(cfg)
    runner = Runner.from_cfg(cfg)
    before = copy.deepcopy(runner.model.state_dict())
    runner.train()
    after = runner.model.state_dict()
    changed = {key for key in after if not torch.equal(before[key], after[key])}
    assert not [key for key in changed if key.startswith('backbone.stages.0.')]
    assert not [key for key in changed if key.startswith('backbone') and 'running' in key]
    assert [key for key in changed if key.startswith('backbone.stages.1.')]
    assert [key for key in changed if key.startswith('neck') and 'running' in key]


@pytest.mark.det
def test_pretrained_weights_reach_the_backbone_and_a_wrong_prefix_is_refused(tmp_path):
    cfg = Config.fromfile(DIGITS_DET)
    source = build(load(DIGITS_DET))
    with torch.no_grad():
        for parameter in source.backbone.parameters():
            parameter.add_(1.0)
    state = {f'backbone.{key}': value for key, value in source.backbone.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'classifier.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'classifier.pth'), prefix='backbone.')
    cfg.model.backbone.init_cfg = init
    loaded = build(cfg)
    loaded.init_weights()
    loaded = loaded.backbone.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in source.backbone.state_dict().items())
    cfg.model.backbone.init_cfg.prefix = 'model.'
    with pytest.raises(AssertionError, match=r'model\. is not in the pretrained model'):
        build(cfg).init_weights()
    cfg.model.backbone.init_cfg = dict(init, checkpoint='checkpoints/none.pth')
    with pytest.raises(FileNotFoundError, match=r'none\.pth'):
        build(cfg).init_weights()


@pytest.mark.det
def test_images_of_many_sizes_train_one_after_another():
    """Multi-scale training: every batch is of another size, mostly odd."""
    model = build(load(DIGITS_DET)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for height, width in [(97, 131), (64, 64), (33, 200), (150, 49)]:
        images = torch.randn(2, 3, height, width)
        samples = detection_samples([(height, width), (height - 9, width - 20)], (height, width))
        loss = total(model(images, samples, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.isfinite()


@pytest.mark.det
def test_padding_of_a_batch_changes_an_image_only_as_zeros_do():
    """mmdet pads the smaller images of a batch; which others are in it does not matter."""
    model = build(load(DIGITS_DET)).double()
    images = torch.randn(2, 3, 96, 160, dtype=torch.float64)
    images[1, :, 60:] = 0
    images[1, :, :, 99:] = 0
    awaken(model.backbone, images)
    model.eval()
    with torch.no_grad():
        batch, alone = model.extract_feat(images), model.extract_feat(images[1:])
    for both, single in zip(batch, alone):
        torch.testing.assert_close(both[1:], single, rtol=0, atol=1e-9)


@pytest.mark.parametrize('path', [det, seg])
def test_fewer_steps_at_test_time(path):
    model = build(load(path))
    images = torch.randn(2, 3, 64, 96)
    awaken(model.backbone, images)
    model.eval()
    with torch.no_grad():
        trained = model.extract_feat(images)
        model.backbone.time_steps = 1
        fewer = model.extract_feat(images)
    assert [x.shape for x in trained] == [x.shape for x in fewer]
    assert any(not torch.equal(a, b) for a, b in zip(trained, fewer))


@pytest.mark.det
def test_fewer_steps_pass_a_spiking_neck_too():
    model = build(load(MASKS)).eval()
    model.backbone.time_steps = 2
    with torch.no_grad():
        levels = model.extract_feat(torch.randn(1, 3, 64, 96))
    assert len(levels) == 5


@pytest.mark.parametrize('path', [det, seg])
def test_sync_batch_norm_of_a_whole_model_computes_the_same(path):
    model = build(load(path)).eval()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model)).eval()
    kinds = {type(m) for m in converted.modules()}
    assert nn.SyncBatchNorm in kinds
    assert nn.BatchNorm2d not in kinds
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for a, b in zip(model.extract_feat(images), converted.extract_feat(images)):
            assert torch.equal(a, b)


@pytest.mark.det
def test_images_without_boxes_train_and_are_evaluated(make_digits, tmp_path):
    make_digits(tmp_path / 'set', '--images', 4, 2, 2, '--size', 96, 96)
    for split in ('train', 'val'):
        path = tmp_path / 'set' / 'annotations' / f'instances_{split}.json'
        content = json.loads(path.read_text())
        content['annotations'] = [a for a in content['annotations'] if a['image_id'] != 0]
        path.write_text(json.dumps(content))
    runner = train(small(DIGITS_DET, tmp_path / 'set', tmp_path / 'run'))
    losses = [line['loss'] for line in scalars(runner) if 'loss' in line]
    assert np.isfinite(losses).all()
