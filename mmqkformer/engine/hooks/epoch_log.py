"""One row of logs for each epoch of training."""

import resource
from collections.abc import Mapping

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

_SUMS = 'train_epoch_sums'


@HOOKS.register_module()
class EpochLogHook(Hook):
    """Logs means over the whole epoch and all processes, as ``train_epoch/...``, step = epoch.

    Means of what the iterations log: losses, accuracies, ``grad_norm`` (over optimizer steps),
    ``time`` and ``data_time`` (seconds an iteration). Beside them the last learning rate ``lr``,
    ``images_per_second`` of all processes while they train, ``memory``, the peak of the process
    with the largest in MiB (of tensors on a GPU, resident without one), and ``eta``, seconds left
    to train.

    The sums so far are in the checkpoint, so that an epoch that is resumed in its middle has its
    mean, too; with several processes, what came before is the main process's.
    """

    # After IterTimerHook; before LoggerHook, which resets the device's peak of memory
    priority = 55

    def before_train_epoch(self, runner: Runner) -> None:
        """Begins new sums, unless the run goes on inside this epoch."""
        if runner.iter % len(runner.train_dataloader) == 0:
            runner.message_hub.update_info(_SUMS, {})

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Adds what this iteration has logged."""
        hub = runner.message_hub
        sums = dict(hub.get_info(_SUMS))
        values = {
            name: hub.get_scalar(f'train/{name}').current()
            for name in (*(outputs or {}), 'time', 'data_time')
            if f'train/{name}' in hub.log_scalars
        }
        inputs = data_batch['inputs'] if isinstance(data_batch, Mapping) else data_batch[0]
        values['images'] = len(inputs)
        for name, value in values.items():
            total, count = sums.get(name, (0.0, 0))
            sums[name] = (total + float(value), count + 1)
        sums['memory'] = (max(_peak_memory(), sums.get('memory', (0.0, 1))[0]), 1)
        hub.update_info(_SUMS, sums)

    def after_train_epoch(self, runner: Runner) -> None:
        """Writes the row to the log and the visualizer's backends."""
        hub = runner.message_hub
        processes = all_gather_object(hub.get_info(_SUMS))
        row = {}
        for name in dict.fromkeys(name for sums in processes for name in sums):
            pairs = [sums[name] for sums in processes if name in sums]
            row[name] = sum(total for total, _ in pairs) / sum(count for _, count in pairs)
        row['memory'] = max(sums['memory'][0] for sums in processes)
        images = row.pop('images')
        if 'time' in row:
            row['images_per_second'] = images * get_world_size() / row['time']
        if 'train/lr' in hub.log_scalars:
            row['lr'] = float(hub.get_scalar('train/lr').current())
        if 'eta' in hub.runtime_info:
            row['eta'] = hub.get_info('eta')
        epoch = runner.epoch + 1
        text = '  '.join(f'{name}: {value:.4g}' for name, value in row.items())
        runner.logger.info(f'Epoch(train) [{epoch}] means:  {text}')
        runner.visualizer.add_scalars(
            {f'train_epoch/{name}': value for name, value in row.items()},
            step=epoch,
            file_path=f'{runner.timestamp}.json',
        )


def _peak_memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
