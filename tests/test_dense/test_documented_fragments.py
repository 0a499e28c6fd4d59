"""The lines for mmdet in the README and the documentation, in a stock config."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from dense import segmentation_samples, total
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from PIL import Image

SIZE = (67, 93)
META = dict(
    img_shape=SIZE, pad_shape=SIZE, ori_shape=SIZE, batch_input_shape=SIZE, scale_factor=(1, 1)
)
ROOT = Path(__file__).parents[2]
README = ROOT / 'README.md'


def readme_config():
    """The fragment under the heading about mmdet, without its pretrained weights."""
    section = README.read_text().split('## As a backbone')[1]
    code = re.search(r'```python\n(.*?)```', section, re.S)[1]
    cfg = Config.fromstring(code, '.py')
    cfg.model.backbone.pop('init_cfg')
    return cfg


def samples(count):
    boxes = torch.tensor([[4.0, 6.0, 40.0, 50.0]])
    for _ in range(count):
        sample = DetDataSample(metainfo=META)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([3]))
        yield sample


@pytest.mark.det
@pytest.mark.parametrize('with_cp', [False, True])
def test_retinanet_trains_and_predicts(with_cp):
    cfg = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    cfg.merge_from_dict(readme_config())
    cfg.model.backbone.with_cp = with_cp
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        images = torch.randn(2, 3, 67, 93)
        losses = model(images, list(samples(2)), mode='loss')
        total = sum(torch.stack(loss).sum() for loss in losses.values())
        total.backward()
        assert total.isfinite()
        unused = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        # RetinaNet's FPN begins at stride 8: the first stage feeds only the ones behind it
        assert unused == []
        predictions = model.eval()(images, list(samples(2)), mode='predict')
    assert len(predictions) == 2


def coco(root, count):
    """A data set of COCO's layout: noise with one box an image."""
    images, annotations = [], []
    (root / 'train2017').mkdir()
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / 'train2017' / f'{i}.png')
        images.append(dict(id=i, file_name=f'{i}.png', height=SIZE[0], width=SIZE[1]))
        annotations.append(
            dict(id=i, image_id=i, category_id=1, bbox=[4, 6, 36, 44], area=1584, iscrowd=0)
        )
    (root / 'annotations').mkdir()
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')])
    (root / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content))


@pytest.mark.det
def test_the_fragment_for_reproducible_runs_trains(tmp_path):
    """docs/reproducibility.md: order and augmentation repeat; the checkpoint is plain data."""
    coco(tmp_path, 2)
    text = (ROOT / 'docs' / 'reproducibility.md').read_text()
    fragment = re.search(r'```python\n(# fragment\n.*?)```', text, re.S)[1]
    config = tmp_path / 'config.py'
    config.write_text("_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n" + fragment)

    def train(work_dir):
        cfg = Config.fromfile(config)
        cfg.merge_from_dict(readme_config())
        cfg.model.backbone.arch = dict(
            base='hst-10-384',
            embed_dims=[6, 12, 24],
            depths=[1, 1, 1],
            stem=dict(channels=[3, 6, 6], pools=[True, True, False], shortcut_from=1),
        )
        cfg.model.neck.in_channels = [6, 12, 24]
        dataset = cfg.train_dataloader.dataset
        assert dataset.pipeline[0].type == 'SeedSample'
        assert [step.type for step in dataset.pipeline].count('PackDetInputs') == 1
        dataset.data_root = f'{tmp_path}/'
        dataset.metainfo = dict(classes=('person',))
        cfg.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
        for step in dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (93, 67)
        cfg.train_cfg.max_epochs = 1
        cfg.randomness = dict(seed=0)
        for split in ('val', 'test'):
            for key in ('dataloader', 'evaluator', 'cfg'):
                cfg[f'{split}_{key}'] = None
        cfg.work_dir = str(tmp_path / work_dir)
        cfg.experiment_name = work_dir
        Runner.from_cfg(cfg).train()
        return torch.load(tmp_path / work_dir / 'epoch_1.pth', weights_only=True)['state_dict']

    first, second = train('first'), train('second')
    assert all(torch.equal(first[key], second[key]) for key in first)


def page_config(marker, folder):
    """A complete config of docs/use_as_backbone.md, in a file of a user's own."""
    text = (ROOT / 'docs' / 'use_as_backbone.md').read_text()
    (code,) = [c for c in re.findall(r'```python\n(.*?)```', text, re.S) if marker in c]
    backbone = MODELS.build(dict(type='QKFormer', arch='hst-10-384', out_indices=(0, 1, 2)))
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.01)
    state = {f'backbone.{key}': value for key, value in backbone.state_dict().items()}
    torch.save(dict(state_dict=state), folder / 'classifier.pth')
    path = folder / 'own.py'
    path.write_text(code.replace('PATH', str(folder / 'classifier.pth')))
    return Config.fromfile(path), backbone


def pretrained_model(cfg, backbone):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    loaded = model.backbone.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in backbone.state_dict().items())
    return model.train()


@pytest.mark.det
def test_the_detection_config_of_a_users_own_repository_trains(tmp_path):
    cfg, backbone = page_config('my_project/retinanet_qkformer.py', tmp_path)
    model = pretrained_model(cfg, backbone)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = {g['name']: g['lr'] for g in wrapper.optimizer.param_groups}
    # The first stage is frozen
    assert rates == {
        'backbone.stages.1': pytest.approx(0.64e-4),
        'backbone.stages.2': pytest.approx(0.8e-4),
        'others': pytest.approx(1e-4),
    }
    own = list(samples(2))
    for sample in own:
        sample.gt_instances.labels[:] = 1
    loss = total(model(torch.randn(2, 3, *SIZE), own, mode='loss'))
    wrapper.update_params(loss)
    assert loss.isfinite()
    dataset = cfg.train_dataloader.dataset
    assert dataset.metainfo.classes == ('cell', 'nucleus')
    assert cfg.test_evaluator.ann_file == 'data/my_cells/val.json'
    assert {hook.type for hook in cfg.custom_hooks} == {'PlainCheckpointHook', 'NonFiniteLossHook'}


@pytest.mark.seg
def test_the_segmentation_config_of_a_users_own_repository_trains(tmp_path):
    cfg, backbone = page_config('my_project/fpn_qkformer.py', tmp_path)
    model = pretrained_model(cfg, backbone)
    loss = total(model(torch.randn(2, 3, 64, 96), segmentation_samples(2, (64, 96)), mode='loss'))
    loss.backward()
    assert loss.isfinite()


@pytest.mark.det
def test_the_list_of_necks_of_the_page_is_the_configs():
    text = (ROOT / 'docs' / 'use_as_backbone.md').read_text()
    (code,) = [c for c in re.findall(r'```python\n(.*?)```', text, re.S) if 'PEDSNeck' in c]
    own = Config.fromstring(code, '.py').model
    shipped = Config.fromfile(
        ROOT / 'configs' / 'detection' / 'mask-rcnn_hst-10-384_peds-fpn_1x_coco.py'
    ).model
    assert own.neck == shipped.neck
    assert own.backbone.out == shipped.backbone.out


@pytest.mark.det
def test_the_spiking_fpn_of_the_page_is_for_a_stock_detector():
    text = (ROOT / 'docs' / 'use_as_backbone.md').read_text()
    (code,) = [c for c in re.findall(r'```python\n(.*?)```', text, re.S) if 'SpikingFPN' in c]
    cfg = get_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    cfg.merge_from_dict(Config.fromstring(code, '.py'))
    cfg.model.backbone.arch = dict(base='qsd-s', depths=[1, 1, 1, 1, 1])
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        levels = model.extract_feat(torch.randn(2, 3, *SIZE))
        strides = cfg.model.rpn_head.anchor_generator.strides
        assert [x.shape[-2:] for x in levels] == [
            tuple(-(-side // stride) for side in SIZE) for stride in strides
        ]
        loss = total(model(torch.randn(2, 3, *SIZE), list(samples(2)), mode='loss'))
    loss.backward()
    assert loss.isfinite()
