"""Checkpoints of plain data, which load without unpickling objects."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..checkpoints import drop_config_texts
from ..config_data import config_differences, config_to_json

_HISTORY = 'history_buffer'
_CONFIG = 'config_json'
_WEIGHTS = ('state_dict', 'ema_state_dict')
_PLAIN = (bool, int, float, str, torch.Tensor)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Turns the Python objects in a checkpoint into plain data, and back where a run resumes.

    mmengine saves its log buffers as objects, which PyTorch's safe loading refuses. With this hook
    a checkpoint loads with ``torch.load(..., weights_only=True)``, so that resuming, testing,
    ``init_cfg`` and other frameworks work unmodified. Name it in ``custom_hooks``.

    The text of the configuration, which mmengine and mmdet run as Python where they find it in a
    checkpoint, is neither written nor used: ``meta.config_json`` holds it as data, and a resumed
    run tells where its own differs.
    """

    # Saved last: after the hooks that add to the checkpoint
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._loaded_config: str | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replaces what is not plain data, in place."""
        for key in checkpoint:
            if key not in _WEIGHTS:
                checkpoint[key] = to_plain(checkpoint[key], key)
        drop_config_texts(checkpoint)
        checkpoint['meta'][_CONFIG] = config_to_json(runner.cfg)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Drops texts that would run, and rebuilds the log buffers of a resumed run, in place."""
        if dropped := drop_config_texts(checkpoint):
            runner.logger.info(
                f'checkpoint: {", ".join(dropped)} left out, the text of a configuration, which '
                'would run as Python'
            )
        meta = checkpoint.get('meta')
        self._loaded_config = meta.get(_CONFIG) if isinstance(meta, dict) else None
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for key, value in scalars.items():
            if isinstance(value, dict) and _HISTORY in value:
                history = value[_HISTORY]
                # A run on a GPU resumes with every tensor of the file on that GPU
                scalars[key] = HistoryBuffer(
                    history['log'].cpu().numpy(),
                    history['count'].cpu().numpy(),
                    history['max_length'],
                )

    def before_train(self, runner: Runner) -> None:
        """Tells where the configuration of a resumed run differs from the checkpoint's."""
        if self._loaded_config is None or not runner.iter:  # first weights only
            return
        try:
            differences = config_differences(self._loaded_config, config_to_json(runner.cfg))
        except ValueError as error:
            differences = [f'the checkpoint holds {error}']
        if differences:
            runner.logger.warning(
                'resumed with another configuration than the checkpoint (before -> now): '
                + '; '.join(differences)
            )


def to_plain(value: object, name: str) -> object:
    """Returns ``value`` as tensors, numbers, strings and containers of them.

    Args:
        value (object): What a checkpoint holds.
        name (str): Its name, for the warning about an object that only its text is kept of.
    """
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {
            _HISTORY: dict(
                log=torch.as_tensor(np.array(log, dtype=np.float64)),
                count=torch.as_tensor(np.array(count, dtype=np.float64)),
                max_length=value.max_length,
            )
        }
    if isinstance(value, Mapping):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        return kind(
            (to_plain(key, name), to_plain(item, f'{name}.{key}')) for key, item in value.items()
        )
    if isinstance(value, (list, tuple, set, deque)):
        kind = type(value) if type(value) in (tuple, set) else list
        return kind(to_plain(item, name) for item in value)
    if isinstance(value, np.ndarray):
        is_numeric = value.dtype.kind in 'biufc'
        return torch.as_tensor(value) if is_numeric else to_plain(value.tolist(), name)
    if isinstance(value, np.generic) and type(value.item()) in _PLAIN:
        return value.item()
    if isinstance(value, (torch.Tensor, torch.dtype)):
        return value
    if isinstance(value, (int, float)):  # of a class of its own, e.g. an enumeration
        return int(value) if isinstance(value, int) else float(value)
    if not isinstance(value, (str, Path)):
        print_log(
            f'checkpoint: {name} is {type(value).__name__}, of which only the text is saved',
            logger='current',
        )
    return str(value)
