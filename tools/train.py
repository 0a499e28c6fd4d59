"""Train a model: ``python tools/train.py CONFIG``."""

import argparse
from contextlib import nullcontext

from mmqkformer.checks import at_least
from mmqkformer.datasets.layout import check_data_root
from mmqkformer.engine import PartialLoadHook, PreemptedError, checkpoints, launch, work_dir
from mmqkformer.files import disk_errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file')
    launch.add_launch_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help="checkpoint to resume from; without a value, the work directory's newest complete "
        'one, or, if it has none, the beginning',
    )
    parser.add_argument(
        '--data-seed',
        type=at_least(0),
        help='seed of order and augmentation for the rest of the run, where the seed so far always '
        'ends in a loss that is not finite',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate while training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the effective batch: processes x loader batch x '
        'accumulative_counts, against auto_scale_lr.base_batch_size',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = launch.load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.data_seed is not None:
        hook = dict(type='IterationSeedHook', data_seed=args.data_seed)
        cfg.merge_from_dict(dict(default_hooks=dict(iteration_seed=hook)))
    if args.auto_scale_lr:
        cfg.merge_from_dict(dict(auto_scale_lr=dict(enable=True)))
    check_data_root(cfg, ('train_dataloader', 'val_dataloader'))

    is_first = launch.is_first_process(args.launcher)
    preempted = False
    with work_dir.locked(cfg.work_dir) if is_first else nullcontext():
        work_dir.choose_start(cfg, args.resume)
        runner = launch.build_runner(cfg)
        launch.scale_learning_rate(runner)
        if cfg.get('load_from') is not None:
            checkpoints.check_checkpoint(runner.model, cfg.load_from, partial=not cfg.get('resume'))
        runner.register_hook(PartialLoadHook())
        try:
            runner.train()
        except PreemptedError:
            preempted = True
        del runner
        launch.leave_process_group()
    if preempted:
        raise PreemptedError


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
