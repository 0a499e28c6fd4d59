"""Publishing, counting, printing and drawing."""

import errno
import hashlib
import re
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmqkformer.analysis import count_operations
from mmqkformer.deploy import load_packed

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
VIS_SCHEDULER = runpy.run_path(str(TOOLS / 'visualization' / 'vis_scheduler.py'))


def test_published_file_is_named_by_its_hash_and_keeps_the_weights(trained, run_tool, tmp_path):
    checkpoint = trained[1] / 'epoch_2.pth'
    run_tool('model_converters/publish_model.py', checkpoint, tmp_path / 'new' / 'tiny.pth')
    (published,) = (tmp_path / 'new').iterdir()
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published.name == f'tiny-{digest[:8]}.pth'
    before = torch.load(checkpoint, weights_only=True)
    after = torch.load(published, weights_only=True)
    assert 'optimizer' in before
    assert after.keys() == {'state_dict', 'meta'}
    assert after['meta']['dataset_meta']['classes'] == ('dark', 'light')
    torch.testing.assert_close(after['state_dict'], before['state_dict'])


def test_published_file_can_be_tested(trained, run_tool, tmp_path):
    config, work_dir = trained
    run_tool('model_converters/publish_model.py', work_dir / 'epoch_2.pth', tmp_path / 'tiny.pth')
    run_tool('test.py', config, *tmp_path.glob('tiny-*.pth'))


def test_publishing_refuses_what_is_no_checkpoint(run_tool, tmp_path):
    torch.save({'weight': torch.ones(1)}, tmp_path / 'bare.pth')
    with pytest.raises(ValueError, match=r'bare\.pth: expected a checkpoint of the runner'):
        run_tool('model_converters/publish_model.py', tmp_path / 'bare.pth', tmp_path / 'out.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['bare.pth']


def test_publishing_to_a_full_disk_is_one_line_and_leaves_nothing(
    trained, run_tool, tmp_path, monkeypatch
):
    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    arguments = (trained[1] / 'epoch_2.pth', tmp_path / 'tiny.pth')
    with pytest.raises(SystemExit, match=r'^error: .*tiny-\w{8}\.pth: No space left on device$'):
        run_tool('model_converters/publish_model.py', *arguments)
    assert list(tmp_path.iterdir()) == []


class Arithmetic(nn.Module):
    """A convolution of 4 x 5 x 5 x 3 x 9, a product of 4 x 25 x 4, a linear layer of 16 x 2."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(16, 2)

    def forward(self, inputs, mode):
        x = self.conv(inputs).flatten(2)
        return self.fc((x @ x.mT).flatten(1))


def test_multiply_accumulates_of_known_arithmetic():
    counts = count_operations(Arithmetic(), (3, 5, 5))
    assert counts.total == 4 * 25 * 27 + 4 * 25 * 4 + 16 * 2
    assert counts.parameters == 4 * 27 + 4 + 16 * 2 + 2


def test_all_time_steps_are_counted(make_config, run_tool, capsys):
    def total(*replacements):
        tool = 'analysis_tools/get_flops.py'
        run_tool(tool, make_config(*replacements), '--shape', 16)
        (line,) = [s for s in capsys.readouterr().out.splitlines() if 'all time steps:' in s]
        return int(line.split()[4].replace(',', ''))

    one, two, three = (total(('time_steps=2', f'time_steps={t}')) for t in (1, 2, 3))
    assert three - two == two - one > 0


def test_layers_add_up_to_the_totals(make_config, run_tool, capsys):
    run_tool('analysis_tools/get_flops.py', make_config(), '--shape', 16, '--layers')
    out = capsys.readouterr().out
    rows = re.findall(r'^ *([\d,]+) +([\d,]+)  [\w.]+$', out, re.M)
    assert len(rows) > 5
    for i, kind in enumerate(('accumulates', 'multiply-accumulates')):
        (total,) = re.findall(rf'^{kind}: ([\d,]+)', out, re.M)
        products = sum(int(row[i].replace(',', '')) for row in rows)
        assert products == int(total.replace(',', '')) > 0


def test_config_is_printed_with_overrides(make_config, run_tool, capsys):
    run_tool('misc/print_config.py', make_config(), '--cfg-options', 'train_cfg.max_epochs=77')
    assert 'max_epochs=77' in capsys.readouterr().out


def test_schedule_is_drawn(make_config, run_tool, tmp_path, capsys):
    arguments = ('--dataset-size', 100, '--ngpus', 2, '--out', tmp_path / 'lr.png')
    run_tool('visualization/vis_scheduler.py', make_config(), *arguments)
    assert (tmp_path / 'lr.png').stat().st_size > 0
    assert '12 iterations, 12 optimizer steps an epoch' in capsys.readouterr().out


def test_rates_are_those_of_the_schedulers():
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=4),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
            param_scheduler=[
                dict(type='ConstantLR', factor=0.5, by_epoch=False, end=3),
                dict(type='MultiStepLR', milestones=[2], gamma=0.1),
            ],
        )
    )
    rates = VIS_SCHEDULER['learning_rates'](cfg, 2)
    assert rates == pytest.approx([0.5, 0.5, 1, 1, 0.1, 0.1, 0.1, 0.1])


def test_an_epoch_is_a_whole_number_of_optimizer_steps():
    cfg = Config(
        dict(train_dataloader=dict(batch_size=32), optim_wrapper=dict(accumulative_counts=2))
    )
    iterations = VIS_SCHEDULER['iterations_per_epoch']
    assert iterations(cfg, 1_281_167, 8) == 2502 * 2
    with pytest.raises(ValueError, match='less than one optimizer step'):
        iterations(cfg, 511, 8)


def test_a_batch_of_one_is_timed_and_compared(trained, run_tool, capsys):
    config, work_dir = trained
    arguments = ('--batch', 3, '--size', 16, 20, '--repeats', 1)
    for weights in ((), ('--checkpoint', work_dir / 'epoch_2.pth')):
        run_tool('benchmark/batch_of_one.py', config, *arguments, *weights)
        out = capsys.readouterr().out
        assert re.search(r'images per second: [\d.]+ one by one, [\d.]+ in a batch of 3\n', out)
        row = re.search(r'float64 │ ([\d,]+) *│ (\d+) *│ ([\d.e+-]+)', out)
        assert int(row[1].replace(',', '')) > 1000
        assert (int(row[2]), float(row[3]) < 1e-12) == (0, True)


def test_a_batch_of_none_is_refused(trained, run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool('benchmark/batch_of_one.py', trained[0], '--batch', 0)
    assert 'argument --batch: 0: expected an integer of at least 1' in capsys.readouterr().err


def test_a_trained_quantised_model_is_packed(make_config, run_tool, tmp_path, capsys):
    quant = "quant=dict(type='LSQ'),"
    config = make_config(
        ("type='QKFormer',", f"type='QKFormer', {quant}"),
        ("type='SpikingClsHead',", f"type='SpikingClsHead', {quant}"),
    )
    run_tool('train.py', config)
    checkpoint = config.parent / 'work_dir' / 'epoch_2.pth'
    run_tool('model_converters/pack_weights.py', config, checkpoint, tmp_path / 'x.safetensors')
    assert re.search(r'x\.safetensors: [\d,]+ bytes', capsys.readouterr().out)
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        trained, loaded = (MODELS.build(cfg.model).eval() for _ in range(2))
    trained.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    load_packed(loaded, tmp_path / 'x.safetensors')
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded(images), trained(images))


def test_packing_what_is_not_quantised_is_one_line(trained, run_tool, tmp_path):
    config, work_dir = trained
    for checkpoint in (work_dir / 'epoch_2.pth', tmp_path / 'nobody.pth'):
        with pytest.raises(SystemExit, match=r'^error: .*(no quantised layer|no such file)'):
            run_tool('model_converters/pack_weights.py', config, checkpoint, tmp_path / 'x')
    assert list(tmp_path.iterdir()) == []
