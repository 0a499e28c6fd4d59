"""What training reports of a checkpoint is what ``tools/test.py`` measures of it."""

import json

import pytest
import torch

BOTH = "[dict(type='Accuracy', topk=(1,)), dict(type='CrossEntropy')]"
METRICS = (
    "val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))",
    # mmengine would log the mean loss of the last ten validations
    f"val_evaluator = test_evaluator = {BOTH}\nlog_processor = dict(mean_pattern='time')",
)
AVERAGE = (
    "custom_hooks = [dict(type='PlainCheckpointHook')]",
    "custom_hooks = [dict(type='PlainCheckpointHook'), "
    "dict(type='OptimStepEMAHook', momentum=0.3, num_samples=12), dict(type='IterationSeedHook')]\n"
    'randomness = dict(seed=1)',
)
FAST = ("type='AdamW', lr=1e-3", "type='AdamW', lr=1e-2")
CHECKPOINT = "checkpoint=dict(type='AtomicCheckpointHook', interval=1)"
EVERY_THREE = (
    CHECKPOINT,
    "checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=3)",
)
BY_ITERATION = (
    "train_cfg = dict(type='ResumableTrainLoop', max_epochs=2)",
    'train_cfg = dict(by_epoch=False, max_iters=6, val_interval=3)',
)
LOGGED_BY_ITERATION = (
    "logger=dict(type='LoggerHook', interval=1",
    "logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False",
)


def best_by(metric):
    return CHECKPOINT, CHECKPOINT.replace('interval=1', f"interval=1, save_best='{metric}'")


def validations(work_dir):
    """Metrics of all validations, by epoch or iteration."""
    (path,) = work_dir.rglob('scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line['step']: line for line in lines if 'accuracy/top1' in line}


def load(checkpoint):
    return torch.load(checkpoint, weights_only=True)


@pytest.fixture
def measure(run_tool, tmp_path):
    def test(config, checkpoint):
        out = tmp_path / 'metrics.json'
        run_tool('test.py', config, checkpoint, '--out', out, '--out-item', 'metrics')
        return json.loads(out.read_text())

    return test


def test_the_averages_metrics_are_those_of_the_checkpoints(make_config, run_tool, measure):
    config = make_config(METRICS, AVERAGE, FAST, best_by('accuracy_ema/top1'))
    work_dir = config.parent / 'work_dir'
    run_tool('train.py', config)
    reported = validations(work_dir)
    assert sorted(reported) == [1, 2]
    for epoch, metrics in reported.items():
        measured = measure(config, work_dir / f'epoch_{epoch}.pth')
        assert measured['accuracy/top1'] == metrics['accuracy_ema/top1']
        assert measured['loss'] == metrics['loss_ema'] != metrics['loss']
    scores = {epoch: metrics['accuracy_ema/top1'] for epoch, metrics in reported.items()}
    epoch = max(scores, key=scores.get)
    (best,) = work_dir.glob('best_*.pth')
    assert best.name == f'best_accuracy_ema_top1_epoch_{epoch}.pth'
    assert measure(config, best)['loss'] == reported[epoch]['loss_ema']


def test_the_raw_weights_train_and_are_kept_as_if_the_average_had_no_statistics(
    make_config, run_tool, measure
):
    config = make_config(METRICS, AVERAGE, FAST)
    work_dir, without = config.parent / 'work_dir', config.parent / 'without'
    run_tool('train.py', config)
    options = ('--work-dir', without, '--cfg-options', 'custom_hooks.1.num_samples=0')
    run_tool('train.py', config, *options)
    saved, plain = load(work_dir / 'epoch_2.pth'), load(without / 'epoch_2.pth')
    raw = {key.removeprefix('module.'): v for key, v in saved['ema_state_dict'].items()}
    assert raw.pop('steps') == 8
    for key, value in plain['ema_state_dict'].items():
        assert torch.equal(value, saved['ema_state_dict'][key]), key
    for key, value in plain['state_dict'].items():
        assert torch.equal(value, saved['state_dict'][key]) == ('running' not in key), key
    torch.save(dict(state_dict=raw), work_dir / 'raw.pth')
    assert measure(config, work_dir / 'raw.pth')['loss'] == validations(work_dir)[2]['loss']


def test_a_validation_inside_an_epoch_is_that_of_its_checkpoint(make_config, run_tool, measure):
    config = make_config(METRICS, AVERAGE, FAST, BY_ITERATION, LOGGED_BY_ITERATION, EVERY_THREE)
    work_dir = config.parent / 'work_dir'
    run_tool('train.py', config)
    reported = validations(work_dir)
    assert sorted(reported) == [3, 6]
    for iteration, metrics in reported.items():
        measured = measure(config, work_dir / f'iter_{iteration}.pth')
        assert measured['loss'] == metrics['loss_ema']


def test_a_checkpoint_between_estimates_has_the_raw_weights_statistics(
    make_config, run_tool, measure
):
    config = make_config(METRICS, AVERAGE, FAST, EVERY_THREE)
    work_dir = config.parent / 'work_dir'
    run_tool('train.py', config)
    saved = load(work_dir / 'iter_3.pth')  # epochs end at 4 and 8
    statistics = [key for key in saved['state_dict'] if 'running' in key]
    assert statistics
    for key in statistics:
        assert torch.equal(saved['state_dict'][key], saved['ema_state_dict'][f'module.{key}'])
    assert 0 <= measure(config, work_dir / 'iter_3.pth')['accuracy/top1'] <= 100


def test_statistics_are_averaged_where_the_config_says_so(make_config, run_tool, measure):
    config = make_config(
        METRICS, (AVERAGE[0], AVERAGE[1].replace('num_samples=12', 'update_buffers=True')), FAST
    )
    work_dir = config.parent / 'work_dir'
    run_tool('train.py', config)
    for epoch, metrics in validations(work_dir).items():
        assert measure(config, work_dir / f'epoch_{epoch}.pth')['loss'] == metrics['loss_ema']


@pytest.mark.parametrize(
    ('metric', 'hooks', 'message'),
    [
        ('accuracy_ema/top1', (), r"save_best='accuracy_ema/top1': .* OptimStepEMAHook"),
        ('accuracy/top5', (), r"save_best='accuracy/top5': .*reports: accuracy/top1, loss$"),
        (
            'accuracy_ema/top5',
            (AVERAGE,),
            r'reports: accuracy/top1, accuracy_ema/top1, loss, loss_ema$',
        ),
    ],
)
def test_a_best_metric_that_is_not_reported_is_an_error(
    metric, hooks, message, make_config, run_tool
):
    with pytest.raises(ValueError, match=message):
        run_tool('train.py', make_config(METRICS, best_by(metric), *hooks))
