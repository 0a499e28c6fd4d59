"""The digits model that ships with the repository, offline."""

from pathlib import Path

import mmpretrain
import pytest
import torch
import yaml
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

import mmqkformer  # noqa: F401
from mmqkformer.engine.checkpoints import check_weights

NAME = 'qkformer_hst-3-128_1xb64_digits'
ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / 'weights' / f'{NAME}.pth'


def test_weights_are_small_plain_tensors():
    assert WEIGHTS.stat().st_size < 2_000_000
    content = torch.load(WEIGHTS, weights_only=True)
    assert set(content) == {'meta', 'state_dict'}


@pytest.mark.parametrize('path', sorted(ROOT.glob('weights/*.pth')), ids=lambda path: path.stem)
def test_nothing_in_shipped_weights_can_run(path):
    content = torch.load(path, weights_only=True)
    check_weights(content, path)
    assert content['meta'].keys() <= {'dataset_meta', 'epoch', 'iter'}


def test_accuracy_is_the_one_that_the_index_states():
    metafile = yaml.safe_load((ROOT / 'configs' / 'qkformer' / 'metafile.yml').read_text())
    (entry,) = [model for model in metafile['Models'] if model['Name'] == NAME]
    stated = entry['Results'][0]['Metrics']['Top 1 Accuracy']
    model = mmpretrain.get_model(NAME, pretrained=True)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(model._config.test_dataloader.dataset)
    with torch.no_grad():
        results = model.test_step(pseudo_collate([dataset[i] for i in range(len(dataset))]))
    right = sum((result.pred_label == result.gt_label).item() for result in results)
    assert 100 * right / len(dataset) == pytest.approx(stated, abs=0.01)


def test_inferencer_reads_an_image_file():
    infer = mmpretrain.ImageClassificationInferencer(NAME, pretrained=True)
    assert infer(str(ROOT / 'tests' / 'data' / 'seven.png'))[0]['pred_class'] == '7'
