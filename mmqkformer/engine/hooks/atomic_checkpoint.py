"""Checkpoints that are complete or not there, and never of half an optimizer step."""

import re
from collections import deque
from contextlib import ExitStack
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner, find_latest_checkpoint

from ...files import write_atomically
from ..work_dir import POINTER, locked
from .optim_step_ema import OptimStepEMAHook

# Where the message hub, and so a checkpoint, keeps names of files
BEST, KEPT, INTERIM = 'best_ckpt', 'keep_ckpt_ids', 'interim_ckpt'


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
    Only files that this run wrote into its own folder are removed, whatever a checkpoint says.

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
        self._lock = ExitStack()
        self._interim: str | None = None
        self.saved_at: int | None = None  # iterations trained

    def before_train(self, runner: Runner) -> None:
        """Takes the folder for this run, and checks that checkpoints fall between optimizer steps.

        Raises:
            WorkDirInUseError: Another run writes into the work directory.
            ValueError: Checkpoints would fall into accumulation groups, or into epochs of a loop
                that cannot resume there, or no average has the metric of the best one; the
                message names the keys.
        """
        if is_main_process():
            self._lock.enter_context(locked(runner.work_dir))
        self._check_intervals(runner)
        self._check_best(runner)
        self._adopt_files(runner)
        super().before_train(runner)
        if is_main_process():
            # A killed run could not remove its own
            for folder in {Path(self.out_dir), Path(runner.work_dir)}:
                for partial in folder.glob('.*.part'):
                    partial.unlink(missing_ok=True)

    def after_train(self, runner: Runner) -> None:
        """Gives the folder back."""
        super().after_train(runner)
        self._lock.close()

    def _check_intervals(self, runner: Runner) -> None:
        counts = runner.optim_wrapper._accumulative_counts
        loop, iterations = runner.train_loop, {}
        if isinstance(loop, EpochBasedTrainLoop):
            length = len(runner.train_dataloader)
            if length % counts:
                raise ValueError(
                    f'len(train_dataloader)={length} is not a multiple of '
                    f'optim_wrapper.accumulative_counts={counts}: set '
                    f"train_dataloader.sampler.type='SeededSampler' and "
                    f'train_dataloader.sampler.multiple_of to batch_size x accumulative_counts'
                )
            repeats = not hasattr(loop, 'resumes_inside_epochs')
            if repeats and (not self.by_epoch or loop.iter % length):
                raise ValueError(
                    f'train_cfg.type={type(loop).__name__!r} would repeat an epoch that is '
                    "resumed in its middle: expected 'ResumableTrainLoop', or checkpoints of "
                    "epochs' ends (default_hooks.checkpoint.by_epoch=True)"
                )
        elif self.save_best and runner.val_loop is not None:
            iterations['train_cfg.val_interval'] = loop.val_interval
        if not self.by_epoch:
            iterations['default_hooks.checkpoint.interval'] = self.interval
            iterations['default_hooks.checkpoint.save_begin'] = self.save_begin
        for key, value in iterations.items():
            if value > 0 and value % counts:
                raise ValueError(
                    f'{key}={value} iterations: expected a multiple of '
                    f'optim_wrapper.accumulative_counts={counts}'
                )

    def _check_best(self, runner: Runner) -> None:
        averages = any(isinstance(hook, OptimStepEMAHook) for hook in runner.hooks)
        for name in self.save_best or ():
            if name.partition('/')[0].endswith('_ema') and not averages:
                raise ValueError(
                    f'default_hooks.checkpoint.save_best={name!r}: expected a metric of the raw '
                    'weights, or OptimStepEMAHook in custom_hooks, which averages them'
                )

    def _adopt_files(self, runner: Runner) -> None:
        """Leaves, of the files that a checkpoint names, those that this run wrote.

        A run writes into one folder, which may have been moved since, under names of this form.
        Where it was resumed from a checkpoint of another folder it has not written anything yet.
        """
        folder = Path(runner.work_dir)
        if self.out_dir is not None:
            folder = Path(self.out_dir) / folder.resolve().name
        source = runner._load_from or find_latest_checkpoint(runner.work_dir)
        is_own = runner._resume and source and Path(source).resolve().parent == folder.resolve()
        of_step = r'\d+'.join(re.escape(part) for part in self.filename_tmpl.split('{}'))
        form = re.compile(rf'(best_.+_)?{of_step}|iter_\d+\.pth')
        info = runner.message_hub.runtime_info
        for key in [key for key in info if key.startswith(BEST) or key == INTERIM]:
            name = Path(str(info[key])).name
            if is_own and form.fullmatch(name):
                info[key] = str(folder / name)
            else:
                del info[key]
        if KEPT in info:
            info[KEPT] = [step for step in info[KEPT] if is_own and type(step) is int]
        self._interim = info.pop(INTERIM, None)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            steps = [*self.keep_ckpt_ids, step]
            for old in steps[: -self.max_keep_ckpts]:
                self._outdate(self.filename_tmpl.format(old))
            self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
            runner.message_hub.update_info(KEPT, list(self.keep_ckpt_ids))
        runner.message_hub.update_info('last_ckpt', str(Path(self.out_dir) / name))
        self._save(runner, name, meta)

    def save_interim(self, runner: Runner) -> None:
        """Saves a checkpoint between two iterations, which the next regular one replaces.

        Args:
            runner (Runner): Runner that has just ended an accumulation group, in a hook that runs
                behind this one.
        """
        if self.saved_at == runner.iter + 1:
            return
        name = f'iter_{runner.iter + 1}.pth'
        runner.message_hub.update_info(INTERIM, name)
        self._save(runner, name, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def _save(self, runner: Runner, name: str, meta: dict) -> None:
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        # The main process alone saves; what all have to do for it comes first
        runner.call_hook('before_checkpoint')
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.saved_at = meta['iter']
        if is_main_process():
            write_atomically(self.last_ckpt.encode(), Path(runner.work_dir) / POINTER)
            if self._interim is not None:
                self.file_backend.remove(self._interim)
            self._remove_outdated()
        self._interim = None

    def _outdate(self, name: str) -> None:
        self.file_backend.remove(self.file_backend.join_path(self.out_dir, name))

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
