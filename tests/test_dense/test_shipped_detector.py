"""The detector that ships with the repository finds as much as the index states."""

import numpy as np
import pytest
import torch
import yaml
from dense import ROOT, load
from mmdet.apis import inference_detector, init_detector
from mmengine.runner import Runner

pytestmark = pytest.mark.det

NAME = 'retinanet_hst-3-128_fpn_digits'
CONFIG = ROOT / 'configs' / 'detection' / f'{NAME}.py'
WEIGHTS = ROOT / 'weights' / f'{NAME}.pth'


def test_weights_are_small_plain_tensors():
    assert WEIGHTS.stat().st_size < 4_000_000
    content = torch.load(WEIGHTS, weights_only=True)
    assert set(content) == {'meta', 'state_dict'}
    assert content['meta']['dataset_meta']['classes'] == tuple('0123456789')


def test_mmdets_own_function_finds_the_digits_of_an_image(digits_coco):
    detector = init_detector(str(CONFIG), str(WEIGHTS), device='cpu')
    found = inference_detector(detector, str(digits_coco / 'images' / 'test' / '000000.png'))
    boxes = found.pred_instances.bboxes.numpy()
    assert boxes.shape[1] == 4
    assert np.isfinite(boxes).all()


@pytest.mark.slow
def test_average_precision_is_the_one_that_the_index_states(make_digits, tmp_path):
    metafile = yaml.safe_load((ROOT / 'configs' / 'detection' / 'metafile.yml').read_text())
    (entry,) = [model for model in metafile['Models'] if model['Name'] == NAME]
    stated = entry['Results'][0]['Metrics']['box AP@0.5']
    make_digits(tmp_path / 'set', '--images', 1, 1, 200)
    cfg = load(CONFIG)
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'run'), load_from=str(WEIGHTS)))
    cfg.test_dataloader.dataset.data_root = f'{tmp_path}/set/'
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_evaluator.ann_file = f'{tmp_path}/set/annotations/instances_test.json'
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key)
    metrics = Runner.from_cfg(cfg).test()
    assert metrics['coco/bbox_mAP_50'] == pytest.approx(stated, abs=0.01)
