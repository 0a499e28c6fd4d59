"""tools/train.py with the config key ``compile``, mixup included."""

import json

import pytest
import torch

MIXUP = (
    'data_preprocessor = dict(',
    "data_preprocessor = dict(batch_augments=dict(augments=dict(type='Mixup', alpha=0.5)), ",
)
HOOKS = (
    'custom_hooks = [',
    "custom_hooks = [dict(type='IterationSeedHook'), dict(type='EagerPreprocessingHook'), ",
)


def losses(work_dir):
    lines = max(work_dir.rglob('scalars.json')).read_text().splitlines()
    return [line['loss'] for line in map(json.loads, lines) if 'loss' in line]


@pytest.mark.slow
@pytest.mark.parametrize('option', ['compile.backend=aot_eager', 'compile=True'])
def test_compiled_training_equals_eager_training(make_config, run_tool, option):
    config = make_config(MIXUP, HOOKS)
    runs = {'eager': (), 'compiled': (option,)}
    torch.compiler.reset()
    for name, options in runs.items():
        run_tool(
            'train.py',
            config,
            '--work-dir',
            config.parent / name,
            '--cfg-options',
            'randomness.seed=0',
            'train_cfg.max_epochs=1',
            *options,
        )
    eager, compiled = (losses(config.parent / name) for name in runs)
    # Float32 spikes may flip later; the first step starts from equal weights
    assert compiled[0] == pytest.approx(eager[0], rel=1e-4)
    assert len(compiled) == len(eager)
    keys = [
        set(torch.load(config.parent / name / 'epoch_1.pth', weights_only=True)['state_dict'])
        for name in runs
    ]
    assert keys[0] == keys[1]
    run_tool('test.py', config, config.parent / 'compiled' / 'epoch_1.pth')
    run_tool('train.py', config, '--work-dir', config.parent / 'compiled', '--resume')
    assert (config.parent / 'compiled' / 'epoch_2.pth').is_file()
