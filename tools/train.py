"""Train a model: ``python tools/train.py CONFIG``."""

import argparse

from mmqkformer.datasets.layout import check_data_root
from mmqkformer.engine import PartialLoadHook, checkpoints, launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file')
    launch.add_launch_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help="checkpoint to resume from; without a value, the work directory's last one",
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
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        cfg.merge_from_dict(dict(auto_scale_lr=dict(enable=True)))
    check_data_root(cfg, ('train_dataloader', 'val_dataloader'))

    runner = launch.build_runner(cfg)
    launch.scale_learning_rate(runner)
    if checkpoint := launch.checkpoint_to_start_from(cfg):
        checkpoints.check_checkpoint(runner.model, checkpoint, partial=not cfg.get('resume'))
    runner.register_hook(PartialLoadHook())
    runner.train()
    del runner
    launch.leave_process_group()


if __name__ == '__main__':
    main()
