"""``compile=True`` with mixup, which PyTorch's default backend cannot compile."""

import uuid

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

import mmqkformer  # noqa: F401


class Pixels(Dataset):
    """Eight images of 2 x 2 pixels and two classes."""

    metainfo = {'classes': ('dark', 'light')}  # noqa: RUF012

    def __len__(self):
        return 8

    def __getitem__(self, index):
        image = torch.arange(12.0).view(3, 2, 2) + 100 * (index % 2) + index
        return dict(inputs=image, data_samples=DataSample().set_gt_label(index % 2))


@MODELS.register_module()
class Brightness(BaseModel):
    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.fc = nn.Linear(12, 2)
        self.compiled = []

    def forward(self, inputs, data_samples, mode):
        self.compiled.append(torch.compiler.is_compiling())
        scores = torch.stack([sample.gt_score for sample in data_samples])
        return dict(loss=F.cross_entropy(self.fc(inputs.flatten(1)), scores))


def trained(folder, compiled, hooks):
    torch.manual_seed(0)
    torch.compiler.reset()
    runner = Runner(
        model=dict(
            type='Brightness',
            data_preprocessor=dict(
                type='mmpretrain.ClsDataPreprocessor',
                mean=[50.0] * 3,
                std=[50.0] * 3,
                num_classes=2,
                batch_augments=dict(augments=dict(type='Mixup', alpha=0.5)),
            ),
        ),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=4,
            dataset=Pixels(),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None, logger=None),
        custom_hooks=[dict(type='IterationSeedHook'), *hooks],
        randomness=dict(seed=0),
        cfg=dict(compile=compiled),
        experiment_name=uuid.uuid4().hex,
    )
    return runner.train()


def test_the_train_step_compiles_but_for_the_preprocessing(tmp_path):
    hooks = [dict(type='EagerPreprocessingHook')]
    eager = trained(tmp_path, False, hooks)
    compiled = trained(tmp_path, True, hooks)
    assert eager.compiled == [False] * 4
    assert compiled.compiled[0]
    torch.testing.assert_close(compiled.fc.weight, eager.fc.weight, rtol=1e-5, atol=1e-6)


def test_without_the_hook_mixup_breaks_the_default_backend(tmp_path):
    """If this fails, PyTorch has mended its pattern, and the hook's first reason is gone."""
    with pytest.raises(Exception, match='Not all inputs to pattern found'):
        trained(tmp_path, True, [])
