"""What ``tools/train.py`` and ``tools/test.py`` share: from a command line to a runner."""

import argparse
import gc
import os
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checks import at_least, check_bool, check_int
from ..version import check_framework
from .checkpoints import unwrap


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing have in common.

    Args:
        parser (argparse.ArgumentParser): Parser of the script.
    """
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and metrics')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='load batches into pageable memory'
    )
    parser.add_argument(
        '--no-persistent-workers', action='store_true', help='start the workers anew every epoch'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides of the config, key=value; a list is key="[a,b]" or key=a,b',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes --local_rank before PyTorch 2.0 and --local-rank since
    parser.add_argument('--local_rank', '--local-rank', type=at_least(0), default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config of a command line and merge the common arguments into it.

    Args:
        args (argparse.Namespace): ``config`` and the arguments of :func:`add_launch_arguments`.

    Returns:
        Config: The config, with ``work_dir`` set: from the arguments, else from the config, else
        ``work_dirs/<name of the config>``. Without a CUDA device, ``val_cfg.fp16`` and
        ``test_cfg.fp16`` of the file are off; the command line may set them for bfloat16.

    Raises:
        ImportError: If the framework of the config, mmdet or mmseg, or mmcv's operators are missing
            or of another version than is known to work.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    check_framework(cfg.get('default_scope', 'mmengine'))
    if not torch.cuda.is_available():
        # A config's float16 is for GPUs. mmengine would take bfloat16, which is coarser
        for loop in (cfg.get('val_cfg'), cfg.get('test_cfg')):
            if loop and loop.get('fp16'):
                loop.fp16 = False
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if 'type' in (cfg.get('train_cfg') or {}):
        cfg.train_cfg.pop('by_epoch', None)  # of a config whose bases did not name the loop yet
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    for split in ('train', 'val', 'test'):
        dataloader = cfg.get(f'{split}_dataloader')
        if dataloader is not None:
            if cfg.get('default_scope') == 'mmpretrain':  # detectors take lists of images
                dataloader.setdefault('collate_fn', dict(type='default_collate'))
            _complete_dataloader(dataloader, args)
    return cfg


def _complete_dataloader(dataloader: dict, args: argparse.Namespace) -> None:
    """Set what a loader leaves open; workers can only persist where there are any."""
    dataloader.setdefault('pin_memory', torch.cuda.is_available())
    dataloader.setdefault('persistent_workers', True)
    if args.no_pin_memory:
        dataloader['pin_memory'] = False
    if args.no_persistent_workers or not dataloader.get('num_workers', 0):
        dataloader['persistent_workers'] = False


def adapt_to_cpu(cfg: Config) -> None:
    """Make a config run where there is no CUDA device; with one, nothing is done.

    The stock AMP wrapper becomes ``CPUAmpOptimWrapper`` with bfloat16. For more processes than
    one, the process group is made here with gloo (the runner would set a CUDA device) and the
    model is wrapped without device ids.

    Args:
        cfg (Config): Config, changed in place.

    Raises:
        ValueError: If ``launcher`` is neither ``none`` nor ``pytorch``.
    """
    if torch.cuda.is_available():
        return
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper':
        wrapper.update(type='CPUAmpOptimWrapper', dtype='bfloat16')
        wrapper.pop('loss_scale', None)  # bfloat16 has the exponent range of float32
    if cfg.get('launcher', 'none') == 'none':
        return
    if cfg.launcher != 'pytorch':
        raise ValueError(f"launcher={cfg.launcher!r}: expected 'pytorch' or 'none' without CUDA")
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


def is_first_process(launcher: str) -> bool:
    """Whether this is the process that writes, before there is a process group to ask.

    Args:
        launcher (str): ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    rank = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK').get(launcher)
    return rank is None or int(os.environ.get(rank, 0)) == 0


def build_runner(cfg: Config) -> Runner:
    """Build the runner that a config asks for, adapted to the machine.

    Args:
        cfg (Config): Config of :func:`load_config`.

    Returns:
        Runner: ``cfg.runner_type`` or mmengine's ``Runner``.

    Raises:
        ValueError: A count or a switch of the config is none; the message names it.
    """
    check_numbers(cfg)
    adapt_to_cpu(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def check_numbers(cfg: Config) -> None:
    """Check what mmengine would take for a number or a switch whatever it is.

    Args:
        cfg (Config): Config of a training or a test.

    Raises:
        ValueError: A count is no integer in its range, or a switch neither True nor False.
    """
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader') or {}
        for name, low in (('batch_size', 1), ('num_workers', 0)):
            if name in loader:
                check_int(f'{split}_dataloader.{name}', loader[name], low)
    wrapper = cfg.get('optim_wrapper') or {}
    if 'accumulative_counts' in wrapper:
        check_int('optim_wrapper.accumulative_counts', wrapper['accumulative_counts'], 1)
    scaling = cfg.get('auto_scale_lr') or {}
    check_bool('auto_scale_lr.enable', scaling.get('enable', False))
    if 'base_batch_size' in scaling:
        check_int('auto_scale_lr.base_batch_size', scaling['base_batch_size'], 1)


def compile_for_testing(runner: Runner) -> None:
    """Compile what a test computes with, where the config has ``compile``; else do nothing.

    mmengine compiles a train step only. The rest of a test step makes Python objects, one for each
    sample, so that the backbone and the neck are compiled: one graph each, without breaks, with
    the weights and the state dict of the model.

    Args:
        runner (Runner): Runner that is about to test. ``compile`` of its config is true, or the
            arguments of :func:`torch.compile`.

    Raises:
        ValueError: ``compile`` is neither a switch nor arguments.
    """
    options = runner.cfg.get('compile')
    if options is None or options is False:
        return
    if options is not True and not isinstance(options, dict):
        raise ValueError(
            f'compile={options!r}: expected True, False or arguments of torch.compile, such as '
            "dict(backend='aot_eager')"
        )
    arguments = {} if options is True else dict(options)
    model = unwrap(runner.model)
    for name in ('backbone', 'neck'):
        part = getattr(model, name, None)
        if part is not None:
            part.compile(**arguments)


def scale_learning_rate(runner: Runner) -> None:
    """Scale the learning rate of a runner that is about to train by its effective batch.

    ``lr x (world size x loader batch x accumulative_counts) / auto_scale_lr.base_batch_size``.
    It replaces mmengine's own scaling, which leaves the accumulation out.

    Args:
        runner (Runner): Runner of which nothing but the model is built; nothing is done unless
            ``auto_scale_lr.enable`` is true in its config.

    Raises:
        ValueError: If scaling is asked for and ``auto_scale_lr.base_batch_size`` is not a
            positive integer.
    """
    scaling = runner.auto_scale_lr or {}
    if not scaling.get('enable', False):
        return
    runner.auto_scale_lr = None
    base = scaling.get('base_batch_size')
    if not isinstance(base, int) or base < 1:
        raise ValueError(
            f'auto_scale_lr.base_batch_size={base!r}: expected the number of samples per '
            'optimizer step that optim_wrapper.optimizer.lr is meant for'
        )
    loader = runner.cfg.train_dataloader.batch_size
    accumulation = runner.optim_wrapper.get('accumulative_counts', 1)
    optimizer = runner.optim_wrapper['optimizer']
    scaled = optimizer['lr'] * runner.world_size * loader * accumulation / base
    runner.logger.info(
        f'Learning rate {optimizer["lr"]:g} -> {scaled:g}: an optimizer step takes '
        f'{runner.world_size} processes x {loader} samples x {accumulation} micro-batches, '
        f'the base is {base}.'
    )
    optimizer['lr'] = scaled


def leave_process_group() -> None:
    """Closes the process group, for the end of a program; drop the runner before.

    Gloo's threads release the tensors of their last operation when they get to it. Python aborts
    the process if that is after it began to end, so the threads have to be joined before; they are
    joined when nothing holds the group any more, neither PyTorch nor a data-parallel model.
    """
    if torch.distributed.is_initialized():
        gc.collect()  # runner, loops and hooks refer to each other
        torch.distributed.destroy_process_group()
