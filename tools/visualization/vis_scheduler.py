"""Draw the learning rate of a config over its training, without a data set."""

import argparse
from pathlib import Path

import matplotlib
import torch
from mmengine.config import Config, DictAction
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS, init_default_scope

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from mmqkformer.analysis.figures import save_figure
from mmqkformer.checks import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--dataset-size', type=at_least(1), required=True, help='training samples')
    parser.add_argument('--ngpus', type=at_least(1), default=1, help='processes of the training')
    parser.add_argument('--out', default='lr.png', help='picture to write')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, key=value')
    return parser.parse_args()


def iterations_per_epoch(cfg: Config, dataset_size: int, ngpus: int) -> int:
    """Iterations (micro-steps) of an epoch, a whole number of optimizer steps.

    Args:
        cfg (Config): Config with ``train_dataloader.batch_size`` and, where gradients are
            accumulated, ``optim_wrapper.accumulative_counts``.
        dataset_size (int): Training samples.
        ngpus (int): Processes; each takes its share of the samples.
    """
    accumulation = cfg.optim_wrapper.get('accumulative_counts', 1)
    steps = dataset_size // (ngpus * cfg.train_dataloader.batch_size * accumulation)
    if steps == 0:
        raise ValueError(
            f'--dataset-size {dataset_size} is less than one optimizer step of {ngpus} processes '
            f'x {cfg.train_dataloader.batch_size} samples x {accumulation} micro-batches'
        )
    return steps * accumulation


def learning_rates(cfg: Config, epoch_length: int) -> list[float]:
    """The learning rate of every iteration, from the config's own schedulers.

    Args:
        cfg (Config): Config of an epoch-based training.
        epoch_length (int): Iterations of an epoch.

    Returns:
        list[float]: One rate per iteration, stepped as the runner's hook steps.
    """
    epochs = cfg.train_cfg.max_epochs
    group = dict(params=[torch.zeros(1, requires_grad=True)])
    optimizer = OPTIMIZERS.build(dict(cfg.optim_wrapper.optimizer, params=[group]))
    accumulation = cfg.optim_wrapper.get('accumulative_counts', 1)
    wrapper = OptimWrapper(optimizer, accumulative_counts=accumulation)
    configs = cfg.param_scheduler
    schedulers = []
    for config in configs if isinstance(configs, list) else [configs]:
        end = epochs if config.get('by_epoch', True) else epochs * epoch_length
        defaults = dict(optimizer=wrapper, epoch_length=epoch_length)
        schedulers.append(
            PARAM_SCHEDULERS.build(dict(end=end) | dict(config), default_args=defaults)
        )
    rates = []
    for iteration in range(1, epochs * epoch_length + 1):
        rates.append(optimizer.param_groups[0]['lr'])
        wrapper.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or iteration % epoch_length == 0:
                scheduler.step()
    return rates


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    epoch_length = iterations_per_epoch(cfg, args.dataset_size, args.ngpus)
    rates = learning_rates(cfg, epoch_length)
    accumulation = cfg.optim_wrapper.get('accumulative_counts', 1)

    figure, axes = plt.subplots(figsize=(8, 4), layout='constrained')
    axes.plot([i / epoch_length for i in range(len(rates))], rates)
    axes.set(xlabel='epoch', ylabel='learning rate', title=Path(args.config).stem)
    axes.grid(alpha=0.3)
    save_figure(figure, args.out, dpi=150)
    print(f'{epoch_length} iterations, {epoch_length // accumulation} optimizer steps an epoch')
    print(f'peak {max(rates):g}, last {rates[-1]:g}; drawn in {args.out}')


if __name__ == '__main__':
    main()
