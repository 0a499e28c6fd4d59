"""mmdet runs the text of a configuration that it finds in weights; it finds none in ours."""

from types import SimpleNamespace

import pytest
import torch
from dense import ROOT
from hostile import serve
from mmdet.apis import DetInferencer
from mmengine.config import Config

from mmqkformer.engine import PlainCheckpointHook

pytestmark = pytest.mark.det

WEIGHTS = ROOT / 'weights' / 'retinanet_hst-3-128_fpn_digits.pth'


def with_texts(folder):
    """A checkpoint as mmengine makes it, whose texts make a folder when they run."""
    checkpoint = torch.load(WEIGHTS, weights_only=True)
    text = f'a = 1\n__import__("os").mkdir({str(folder)!r})'
    checkpoint['meta']['cfg'] = text
    checkpoint['message_hub'] = dict(
        runtime_info=dict(cfg=text), log_scalars={}, resumed_keys=dict(cfg=True)
    )
    return checkpoint


def test_weights_on_the_web_bring_no_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    (tmp_path / 'web').mkdir()
    torch.save(with_texts(tmp_path / 'ran'), tmp_path / 'web' / 'forged.pth')
    with (
        serve(tmp_path / 'web') as (address, _),
        pytest.raises(ValueError, match='Cannot find the config in the checkpoint'),
    ):
        DetInferencer(weights=f'{address}/forged.pth', device='cpu')
    assert not (tmp_path / 'ran').exists()


def test_files_that_we_write_bring_none(tmp_path):
    checkpoint = with_texts(tmp_path / 'ran')
    runner = SimpleNamespace(cfg=Config(dict(a=1)))
    PlainCheckpointHook().before_save_checkpoint(runner, checkpoint)
    torch.save(checkpoint, tmp_path / 'ours.pth')
    for weights in (tmp_path / 'ours.pth', WEIGHTS):
        with pytest.raises(ValueError, match='Cannot find the config in the checkpoint'):
            DetInferencer(weights=str(weights), device='cpu')
    assert not (tmp_path / 'ran').exists()


def test_mmdet_would_have_run_it(tmp_path):
    """The danger is real: the same text in a local file of others runs."""
    torch.save(with_texts(tmp_path / 'ran'), tmp_path / 'others.pth')
    with pytest.raises((AttributeError, KeyError)):  # it holds no model
        DetInferencer(weights=str(tmp_path / 'others.pth'), device='cpu')
    assert (tmp_path / 'ran').exists()
