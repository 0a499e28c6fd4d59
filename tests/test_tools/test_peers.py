"""The benchmark against peers: that its graph of the release is the release, and that it runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

from mmqkformer.convert import convert_state_dict

BENCHMARKS = Path(__file__).parents[2] / 'tools' / 'benchmark'


@pytest.mark.parametrize(
    ('arch', 'large', 'side'), [('hst-10-384', True, 64), ('hst-4-384', False, 16)]
)
def test_the_graph_of_the_release_computes_what_the_release_does(arch, large, side, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from release_graph import ReleaseGraph

    torch.manual_seed(0)
    release = ReleaseGraph(large, classes=10).double().train()
    images = 3 * torch.randn(3, 3, side, side, dtype=torch.float64)
    for _ in range(3):  # statistics with which neurons fire
        release(images)
    family, state = convert_state_dict(release.state_dict())
    assert family == 'qkformer'
    ours = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='QKFormer', arch=arch, release_batch_leak=True),
            head=dict(type='SpikingClsHead', num_classes=10, in_channels=384),
        )
    ).double()
    ours.load_state_dict(state)
    with torch.no_grad():
        expected, found = release.eval()(images), ours.eval()(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_contestants_take_turns(tmp_path):
    command = [sys.executable, str(BENCHMARKS / 'peers.py'), '--arch', 'hst-4-384', '--train']
    command += ['--batch', '2', '--rounds', '2', '--json', str(tmp_path / 'peers.json')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'peers-b2.json').read_text())['results']
    assert list(results) == ['ours', 'deployed', 'release', 'on spikingjelly']
    assert all(len(entry['seconds']) == 2 for entry in results.values())
    assert 'training step, batch 2' in done.stdout
