"""Test a checkpoint, this zoo's or a released one: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import mmengine
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.hooks import EMAHook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner, autocast
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mmqkformer.analysis import ExitRule
from mmqkformer.analysis.early_exit import RULES
from mmqkformer.checks import at_least, number
from mmqkformer.convert import read_released
from mmqkformer.datasets.layout import check_data_root
from mmqkformer.deploy import EarlyExitClassifier, fuse, spike_flips, to_int8
from mmqkformer.engine import checkpoints, launch
from mmqkformer.files import disk_errors_in_one_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a checkpoint')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', help='checkpoint file, or one of a public release, as it was downloaded'
    )
    launch.add_launch_arguments(parser)
    parser.add_argument('--out', help='file to write metrics or predictions to')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what to write: metrics (.json) or predictions (.pkl, the default)',
    )
    parser.add_argument('--show-dir', help='folder to draw predictions into')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--interval', type=at_least(1), default=1, help='draw one sample in so many'
    )
    parser.add_argument('--wait-time', type=number(0), default=2, help='seconds a window stays')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: the config's tta_model and tta_pipeline, or else the mean "
        'of the scores of the image and its mirror image',
    )
    parser.add_argument(
        '--fuse',
        action='store_true',
        help='fold norms into convolutions, and report the spikes that it changes on one image, '
        'with --amp in mixed precision',
    )
    parser.add_argument(
        '--int8',
        action='store_true',
        help='compute quantised layers behind neurons in int8, on the CPU, and report as --fuse',
    )
    parser.add_argument(
        '--early-exit',
        metavar='RULE=THRESHOLD',
        help='run a classifier step by step, a sample until the rule stops it, and report the '
        f'steps that ran; the rules are {", ".join(RULES)}, such as confidence=0.9',
    )
    args = parser.parse_args()
    if args.early_exit is not None:
        if args.tta or args.int8:
            parser.error('--early-exit: expected without --tta and --int8')
        try:
            args.early_exit = ExitRule.parse(args.early_exit)
        except ValueError as error:
            parser.error(f'--early-exit {error}')
    if args.fuse and args.tta:
        parser.error('--fuse: expected without --tta')
    if args.int8 and (args.fuse or args.tta or args.amp):
        parser.error('--int8: expected without --fuse, --tta and --amp')
    if args.int8 and get_device() != 'cpu':
        parser.error(
            f'--int8: expected a machine without a GPU, got {get_device()}; hide it: '
            f"CUDA_VISIBLE_DEVICES=''"
        )
    if args.out_item is not None and args.out is None:
        parser.error('--out-item needs --out')
    if args.out_item == 'metrics' and not args.out.endswith(('.json', '.yml', '.yaml', '.pkl')):
        parser.error(f'--out {args.out}: metrics are written to a .json, .yml or .pkl file')
    if args.out and args.out_item != 'metrics' and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out {args.out}: predictions are written to a .pkl file')
    return args


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Switch the visualization hook of the config's framework on."""
    scope = cfg.get('default_scope')
    if scope == 'mmdet':
        # mmdet joins the folder to one of its own
        folder = args.show_dir and str(Path(args.show_dir).resolve())
        hook = dict(type='DetVisualizationHook', draw=True, test_out_dir=folder)
    elif scope == 'mmseg':
        hook = dict(type='SegVisualizationHook', draw=True)
        if args.show_dir is not None:
            cfg.visualizer.save_dir = args.show_dir
    else:
        hook = dict(type='VisualizationHook', enable=True, out_dir=args.show_dir)
    hook.update(show=args.show, wait_time=args.wait_time, interval=args.interval)
    cfg.merge_from_dict(dict(default_hooks=dict(visualization=hook)))


def augment_at_test_time(cfg: Config) -> None:
    """Wrap the model for test-time augmentation, mirroring unless the config says otherwise."""
    scope = cfg.get('default_scope')
    if scope in ('mmdet', 'mmseg') and not {'tta_model', 'tta_pipeline'} <= set(cfg):
        raise SystemExit(f'--tta: a config of {scope} needs tta_model and tta_pipeline')
    pipeline = cfg.test_dataloader.dataset.pipeline
    if 'tta_pipeline' not in cfg:
        mirror = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        augmentation = dict(type='TestTimeAug', transforms=[mirror, [pipeline[-1]]])
        cfg.tta_pipeline = [*deepcopy(pipeline[:-1]), augmentation]
    cfg.setdefault('tta_model', dict(type='mmpretrain.AverageClsScoreTTA'))
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def leave_the_average(cfg: Config) -> None:
    """Test without the hooks that average weights while training.

    They take part in loading, and are ready for it in a run only, not in front of it.
    """
    hooks = cfg.get('custom_hooks') or []
    kinds = [HOOKS.get(hook['type']) if isinstance(hook, dict) else type(hook) for hook in hooks]
    cfg.custom_hooks = [
        hook for hook, kind in zip(hooks, kinds) if kind is None or not issubclass(kind, EMAHook)
    ]


def replace_and_compare(
    runner: Runner, name: str, form_of: Callable[[nn.Module, dict], nn.Module], amp: bool
) -> None:
    """Test another form of the loaded model, and print how many spikes of one image differ.

    ``form_of`` makes it of the model and a batch of one image. With ``amp`` its spikes are those in
    mixed precision, as it will be tested.
    """
    runner.load_or_resume()
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    model.eval()
    batch = model.data_preprocessor(next(iter(runner.test_dataloader)), False)
    image = batch['inputs'][:1]
    other = form_of(model, dict(batch, inputs=image, data_samples=batch['data_samples'][:1]))
    # Logits of a classifier; of the others what the backbone gives
    classifies = isinstance(model, ImageClassifier)
    plain, changed = (model, other) if classifies else (model.backbone, other.backbone)

    def run(network: nn.Module) -> Tensor:
        with autocast(enabled=amp and network is changed):
            out = network(image)
        return out if classifies else out[-1]

    print_log(f'{name}: on one image {spike_flips(plain, changed, run)}', 'current')
    runner.model = other


def in_int8(model: nn.Module, batch: dict) -> nn.Module:
    """The model with quantised layers in int8; prints which ones stay float32."""
    try:
        other, left = to_int8(model, lambda model: model(**batch, mode='predict'))
    except (ValueError, RuntimeError) as error:
        raise SystemExit(f'--int8: {error}') from error
    for name, why in left.items():
        print_log(f'int8: {name} stays float32: {why}', 'current')
    return other


def exit_early(runner: Runner, rule: ExitRule) -> EarlyExitClassifier:
    """Test the loaded model step by step."""
    runner.load_or_resume()
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    try:
        runner.model = EarlyExitClassifier(model, rule)
    except ValueError as error:
        raise SystemExit(f'--early-exit: {error}') from error
    return runner.model


def test_and_write(runner: Runner, out: Path, item: str | None) -> None:
    """Test, and write the metrics or the predictions."""
    # both formats are told by the suffix, so the temporary name keeps it
    partial = out.with_name(f'.partial-{out.name}')
    out.parent.mkdir(parents=True, exist_ok=True)
    if item != 'metrics':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=str(partial)))
    try:
        metrics = runner.test()
        if is_main_process():
            if item == 'metrics':
                mmengine.dump(metrics, partial)
            os.replace(partial, out)
    finally:
        if is_main_process():
            partial.unlink(missing_ok=True)


def main() -> None:
    args = parse_args()
    cfg = launch.load_config(args)
    cfg.load_from = None
    cfg.resume = False
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.int8 and cfg.test_cfg.get('fp16'):
        raise SystemExit('--int8: expected test_cfg without fp16=True')
    if args.int8 and cfg.get('compile'):
        raise SystemExit('--int8: expected a config without compile; --cfg-options compile=False')
    if args.fuse or args.int8 or args.early_exit is not None:
        leave_the_average(cfg)
    if args.early_exit is not None and cfg.get('compile'):
        raise SystemExit(
            '--early-exit: expected a config without compile; --cfg-options compile=False'
        )
    if args.show or args.show_dir is not None:
        draw_predictions(cfg, args)
    if args.tta:
        augment_at_test_time(cfg)
    check_data_root(cfg, ('test_dataloader',))
    released = read_released(checkpoints.local_file(args.checkpoint))
    if released is None:
        cfg.load_from = args.checkpoint

    runner = launch.build_runner(cfg)
    if released is None:
        checkpoints.check_checkpoint(runner.model, args.checkpoint)
    else:
        name = f'checkpoint {args.checkpoint!r}, {released["meta"]["family"]} family,'
        checkpoints.load_weights(runner.model, released['state_dict'], name)
    if args.fuse:
        replace_and_compare(runner, 'fused', lambda model, _: fuse(model), args.amp)
    if args.int8:
        replace_and_compare(runner, 'int8', in_int8, False)
    exiting = None
    if args.early_exit is not None:
        exiting = exit_early(runner, args.early_exit)
    launch.compile_for_testing(runner)
    if args.out is None:
        runner.test()
    else:
        test_and_write(runner, Path(args.out), args.out_item)
    if exiting is not None:
        print_log(exiting.report(), 'current')
    del runner
    launch.leave_process_group()


if __name__ == '__main__':
    with disk_errors_in_one_line():
        main()
