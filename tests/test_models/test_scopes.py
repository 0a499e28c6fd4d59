"""One import registers everything: bare names build in every scope, a user's part included."""

import subprocess
import sys

import pytest
import torch
from mmdet.registry import MODELS as MMDET
from mmengine.model import BaseModule
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.registry import MODELS as MMPRETRAIN
from torch import nn

import mmqkformer  # noqa: F401

COMPONENTS = {
    'LIFNeuron': {},
    'IFNeuron': {},
    'PLIFNeuron': {},
    'QKFormer': dict(arch='hst-4-384'),
    'PEDSNeck': dict(in_channels=[8, 16], widths=[32]),
    'SpikingClsHead': dict(num_classes=3, in_channels=8),
    'QKTokenAttention': dict(
        embed_dims=8, num_heads=2, neuron=dict(type='IFNeuron'), norm_cfg=dict(type='BN')
    ),
}


@pytest.mark.parametrize('scope', ['mmengine', 'mmpretrain', 'mmdet'])
@pytest.mark.parametrize('name', COMPONENTS)
def test_bare_names_build_in_every_scope(name, scope):
    registry = {'mmengine': MODELS, 'mmpretrain': MMPRETRAIN, 'mmdet': MMDET}[scope]
    assert type(registry.build(dict(type=name, **COMPONENTS[name]))).__name__ == name
    with DefaultScope.overwrite_default_scope(scope):
        assert type(MODELS.build(dict(type=name, **COMPONENTS[name]))).__name__ == name


@MODELS.register_module()
class MaskEverySecondToken(BaseModule):
    """A user's attention, outside the package: spikes in, currents of the same shape out."""

    def __init__(self, embed_dims, neuron, norm_cfg, shift=0):
        super().__init__()
        self.proj = nn.Conv2d(embed_dims, embed_dims, 1)
        self.shift = shift

    def forward(self, x):
        y = self.proj(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        y[..., self.shift :: 2] = 0
        return y


@pytest.mark.parametrize('registry', [MODELS, MMPRETRAIN, MMDET])
@pytest.mark.parametrize(
    'mine', ['MaskEverySecondToken', dict(type='MaskEverySecondToken', shift=1)]
)
def test_a_users_attention_is_named_in_a_config(mine, registry):
    cfg = dict(type='QKFormer', arch=dict(base='hst-4-384', attentions=[mine] * 3))
    model = registry.build(cfg)
    (out,) = model(torch.randn(2, 3, 16, 16))
    out.sum().backward()
    attention = model.stages[2].blocks[1].attention
    assert type(attention) is MaskEverySecondToken
    assert attention.proj.weight.grad.abs().sum() > 0


def test_imports_without_mmpretrain():
    """A pure mmdet user has the backbone, the neck and the neurons."""
    code = (
        'import sys; sys.modules["mmpretrain"] = None\n'
        'import mmqkformer\n'
        'from mmengine.registry import MODELS\n'
        'assert MODELS.build(dict(type="QKFormer", arch="hst-4-384"))\n'
        'assert MODELS.get("SpikingClsHead") is None\n'
        'assert not any(name.split(".")[0] in ("cupy", "spikingjelly", "sklearn")'
        ' for name in sys.modules)\n'
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
