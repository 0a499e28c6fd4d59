"""Checkpoints that are complete or not there, and never of half an optimizer step."""

from collections import deque
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...files import write_atomically
from .optim_step_ema import OptimStepEMAHook


class AtomicLocalBackend(LocalBackend):
    """mmengine's local files, written atomically and removed only on request."""

    def __init__(self) -> None:
        self.outdated: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes a whole file or none."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(obj, filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Writes a whole text file or none."""
        self.put(obj.encode(encoding), filepath)

    def remove(self, filepath: str | Path) -> None:
        """Notes a file, for :meth:`remove_outdated`."""
        self.outdated.append(str(filepath))

    def remove_outdated(self, kept: set[str]) -> None:
        """Removes the noted files, except those that were written anew since."""
        for path in self.outdated:
            if path not in kept:
                Path(path).unlink(missing_ok=True)
        self.outdated.clear()


register_backend('atomic', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against a kill at any moment.

    Every file is written under a temporary name and renamed; an older checkpoint is removed only
    when its successor and the pointer ``last_checkpoint`` are on disk. Checkpoints are saved
    between accumulation groups only, so that a resumed run repeats no micro-step and loses none.

    Args:
        **kwargs: Arguments of ``CheckpointHook``, for checkpoints on local disks.

    The best checkpoint is that of the metric ``save_best``. With ``OptimStepEMAHook`` there are two
    of each: ``accuracy/top1`` of the raw weights, ``accuracy_ema/top1`` of their average.

    Raises:
        ValueError: ``backend_args`` are given.
    """

    def __init__(self, **kwargs) -> None:
        if 'backend_args' in kwargs:
            raise ValueError(
                f'default_hooks.checkpoint.backend_args={kwargs["backend_args"]!r}: expected none, '
                "checkpoints are written to local disks; for others take type='CheckpointHook'"
            )
        super().__init__(**kwargs, backend_args=dict(backend='atomic'))

    def before_train(self, runner: Runner) -> None:
        """Checks that checkpoints fall between accumulation groups, and the metric of the best.

        Raises:
            ValueError: They would not, or no average has the metric; the message names the keys.
        """
        counts = runner.optim_wrapper._accumulative_counts
        iterations = {}
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            length = len(runner.train_dataloader)
            if length % counts:
                raise ValueError(
                    f'len(train_dataloader)={length} is not a multiple of '
                    f'optim_wrapper.accumulative_counts={counts}: set '
                    f"train_dataloader.sampler.type='SeededSampler' and "
                    f'train_dataloader.sampler.multiple_of to batch_size x accumulative_counts'
                )
        elif self.save_best and runner.val_loop is not None:
            iterations['train_cfg.val_interval'] = runner.train_loop.val_interval
        if not self.by_epoch:
            iterations['default_hooks.checkpoint.interval'] = self.interval
            iterations['default_hooks.checkpoint.save_begin'] = self.save_begin
        for key, value in iterations.items():
            if value > 0 and value % counts:
                raise ValueError(
                    f'{key}={value} iterations: expected a multiple of '
                    f'optim_wrapper.accumulative_counts={counts}'
                )
        averages = any(isinstance(hook, OptimStepEMAHook) for hook in runner.hooks)
        for name in self.save_best or ():
            if name.partition('/')[0].endswith('_ema') and not averages:
                raise ValueError(
                    f'default_hooks.checkpoint.save_best={name!r}: expected a metric of the raw '
                    'weights, or OptimStepEMAHook in custom_hooks, which averages them'
                )
        super().before_train(runner)
        if is_main_process():
            # A killed run could not remove its own
            for folder in {Path(self.out_dir), Path(runner.work_dir)}:
                for partial in folder.glob('.*.part'):
                    partial.unlink(missing_ok=True)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            steps = [*self.keep_ckpt_ids, step]
            for old in steps[: -self.max_keep_ckpts]:
                name = self.filename_tmpl.format(old)
                self.file_backend.remove(self.file_backend.join_path(self.out_dir, name))
            self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', path)
        runner.save_checkpoint(
            self.out_dir,
            self.filename_tmpl.format(step),
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(path.encode(), Path(runner.work_dir) / 'last_checkpoint')
            self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        for name in self.save_best or ():
            if name != 'auto' and name not in metrics:
                raise ValueError(
                    f'default_hooks.checkpoint.save_best={name!r}: expected a metric that the '
                    f'validation reports: {", ".join(sorted(metrics))}'
                )
        super()._save_best_checkpoint(runner, metrics)
        if is_main_process():
            self._remove_outdated()

    def _remove_outdated(self) -> None:
        best = [getattr(self, 'best_ckpt_path', None)]  # of a single metric; else the dictionary
        best += getattr(self, 'best_ckpt_path_dict', {}).values()
        self.file_backend.remove_outdated(kept={str(path) for path in [self.last_ckpt, *best]})
