"""The recipes' learning rates, against the released curves and the equations."""

import csv
import math
from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from mmqkformer.analysis import curves

CURVES = Path(curves.__file__).parent / 'released'
IMAGENET = dict(
    type='WarmupCosineLR', warmup_epochs=5, max_epochs=200, eta_min=1e-6, accumulative_counts=2
)
CIFAR = dict(
    type='WarmupCosineLR',
    warmup_start=1e-5,
    warmup_epochs=20,
    max_epochs=400,
    eta_min=1e-5,
    cosine_from='start',
)


def schedule(cfg, lr, epochs, epoch_length=None):
    """The rate at every iteration (with ``epoch_length``) or epoch of a training."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=lr)
    if epoch_length:
        cls = PARAM_SCHEDULERS.get(cfg['type'])
        arguments = {key: value for key, value in cfg.items() if key != 'type'}
        scheduler = cls.build_iter_from_epoch(optimizer, epoch_length=epoch_length, **arguments)
    else:
        scheduler = PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer))
    rates = []
    for _ in range(epochs * (epoch_length or 1)):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return rates


def curve(name):
    with open(CURVES / name, newline='') as file:
        return list(csv.DictReader(line for line in file if not line.startswith('#')))


def test_imagenet_rate_agrees_with_the_release_at_every_epoch():
    """8 x 32 images: 5,004 micro-batches an epoch, 2,502 optimizer steps; 6 printed decimals."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.2e-3)
    scheduler = PARAM_SCHEDULERS.get('WarmupCosineLR').build_iter_from_epoch(
        optimizer, epoch_length=5004, **{k: v for k, v in IMAGENET.items() if k != 'type'}
    )
    rows = curve('hst-10-384_in1k.csv')
    assert len(rows) == 200
    for row in rows:
        # Resumed one iteration before the epoch's last, of which the release prints the rate
        before_last = 5004 * (int(row['epoch']) + 1) - 2
        scheduler.load_state_dict(dict(last_step=before_last, _global_step=before_last))
        scheduler.step()
        assert f'{optimizer.param_groups[0]["lr"]:.6f}' == row['lr'], row['epoch']


def test_cifar_rate_agrees_with_the_release_at_every_epoch():
    rates = schedule(CIFAR, 1e-3, 410)
    rows = curve('cifar10.csv')
    assert len(rows) == 410
    for row in rows:
        assert f'{rates[int(row["epoch"])]:.3e}' == row['lr'], row['epoch']


def test_the_released_cifar_loss_does_not_fall_where_mixup_was_to_end():
    """At epoch 200 it moves as between any epochs; the end of mixup would show ten times as much.

    The entropy of targets mixed by Beta(1/2, 1/2) is 2 ln 2 - 1 nats on average, where the classes
    of the two images differ: 9 of 10 pairs. No network's loss is below it, until mixup ends.
    """
    losses = [float(row['train_loss']) for row in curve('cifar10.csv')]

    def fall(epoch):
        return (sum(losses[epoch - 5 : epoch]) - sum(losses[epoch + 1 : epoch + 6])) / 5

    elsewhere = [fall(epoch) for epoch in range(100, 300) if abs(epoch - 200) > 5]
    assert min(elsewhere) < fall(200) < max(elsewhere)
    assert max(map(abs, [*elsewhere, fall(200)])) < 0.9 * (2 * math.log(2) - 1) / 10


def test_rate_is_held_inside_an_accumulation_group():
    rates = schedule(dict(IMAGENET, accumulative_counts=4), 1.2e-3, 7, epoch_length=40)
    groups = [rates[i : i + 4] for i in range(0, len(rates), 4)]
    assert all(len(set(group)) == 1 for group in groups)
    # Within warm-up and cosine each group has a rate of its own, that of its first micro-step
    assert len({group[0] for group in groups}) == len(groups)
    assert groups[7][0] == pytest.approx(1.2e-3 * (28 / 40) / 5)


def test_rate_of_a_step_does_not_depend_on_the_accumulation():
    coarse = schedule(dict(IMAGENET, accumulative_counts=2), 1.2e-3, 8, epoch_length=20)[::2]
    fine = schedule(dict(IMAGENET, accumulative_counts=4), 1.2e-3, 8, epoch_length=40)[::4]
    assert coarse == pytest.approx(fine)


def test_rate_is_held_as_the_wrapper_accumulates():
    cfg = dict(max_epochs=6, warmup_epochs=1, epoch_length=8, by_epoch=False)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    wrapper = OptimWrapper(optimizer, accumulative_counts=4)
    cls = PARAM_SCHEDULERS.get('WarmupCosineLR')
    assert cls(wrapper, **cfg).accumulative_counts == 4
    assert cls(wrapper, **cfg, accumulative_counts=4).accumulative_counts == 4
    message = r'accumulative_counts=2: expected 4, optim_wrapper\.accumulative_counts'
    with pytest.raises(ValueError, match=message):
        cls(wrapper, **cfg, accumulative_counts=2)
    # By epoch there is nothing to hold
    assert cls(wrapper, max_epochs=6).accumulative_counts == 1
    with pytest.raises(ValueError, match=r'accumulative_counts=4: expected 1, of a scheduler'):
        cls(wrapper, max_epochs=6, accumulative_counts=4)


@pytest.mark.filterwarnings('error')
def test_no_warning_of_skipped_rates_unless_rates_are_skipped():
    def start():
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        wrapper = OptimWrapper(optimizer, accumulative_counts=2)
        cfg = dict(max_epochs=6, epoch_length=8, by_epoch=False)
        return parameter, wrapper, PARAM_SCHEDULERS.get('WarmupCosineLR')(wrapper, **cfg)

    parameter, wrapper, scheduler = start()
    for _ in range(4):
        wrapper.update_params(parameter.sum())
        scheduler.step()
    parameter, wrapper, scheduler = start()
    with pytest.raises(UserWarning, match=r'`scheduler.step\(\)` before `optimizer.step\(\)`'):
        scheduler.step()


def test_fine_tuning_enters_at_the_end_of_a_schedule():
    """Published mean rates: 5.59e-6 in epoch 201 and 5.24e-7 in epoch 209 of 210."""
    cfg = dict(IMAGENET, max_epochs=210, eta_min=5e-7, epoch_offset=200)
    rates = schedule(cfg, 1.2e-3, 10, epoch_length=1000)
    means = [sum(rates[i : i + 1000]) / 1000 for i in range(0, 10000, 1000)]
    assert means[1] == pytest.approx(5.59e-6, rel=1e-3)
    assert means[9] == pytest.approx(5.24e-7, rel=2e-3)


def test_groups_keep_their_ratio():
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([dict(params=[p], lr=lr) for p, lr in zip(parameters, (1.0, 0.1))])
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='WarmupCosineLR', warmup_epochs=2, max_epochs=9, optimizer=optimizer)
    )
    for _ in range(8):
        optimizer.step()
        scheduler.step()
        first, second = (group['lr'] for group in optimizer.param_groups)
        assert second == pytest.approx(first / 10)


def test_a_resumed_schedule_goes_on():
    whole = schedule(CIFAR, 1e-3, 50)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    first = PARAM_SCHEDULERS.build(dict(CIFAR, optimizer=optimizer))
    for _ in range(30):
        optimizer.step()
        first.step()
    again = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    resumed = PARAM_SCHEDULERS.build(dict(CIFAR, optimizer=again))
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(first.state_dict())
    rates = []
    for _ in range(20):
        rates.append(again.param_groups[0]['lr'])
        again.step()
        resumed.step()
    assert rates == whole[30:]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(warmup_epochs=400), r'param_scheduler\.warmup_epochs=400: expected'),
        (dict(cosine_from='end'), r"param_scheduler\.cosine_from='end': expected"),
        (dict(accumulative_counts=0), r'param_scheduler\.accumulative_counts=0: expected'),
    ],
)
def test_bad_arguments_are_named(change, message):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    with pytest.raises(ValueError, match=message):
        PARAM_SCHEDULERS.build({**CIFAR, 'optimizer': optimizer, **change})
