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

_HISTORY = 'history_buffer'
_WEIGHTS = ('state_dict', 'ema_state_dict')
_PLAIN = (bool, int, float, str, torch.Tensor)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Turns the Python objects in a checkpoint into plain data, and back where a run resumes.

    mmengine saves its log buffers as objects, which PyTorch's safe loading refuses. With this hook
    a checkpoint loads with ``torch.load(..., weights_only=True)``, so that resuming, testing,
    ``init_cfg`` and other frameworks work unmodified. Name it in ``custom_hooks``.
    """

    # Saved last: after the hooks that add to the checkpoint
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replaces what is not plain data, in place."""
        for key in checkpoint:
            if key not in _WEIGHTS:
                checkpoint[key] = to_plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rebuilds the log buffers that a resumed run goes on with, in place."""
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
