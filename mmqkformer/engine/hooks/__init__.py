"""Hooks: safe checkpoints, averages, seeds, and a stop at a non-finite loss."""

from .atomic_checkpoint import AtomicCheckpointHook
from .check_labels import CheckLabelsHook
from .iteration_seed import IterationSeedHook
from .merged_groups import MergedGroupsHook
from .non_finite_loss import NonFiniteLossError, NonFiniteLossHook
from .optim_step_ema import OptimStepEMAHook
from .plain_checkpoint import PlainCheckpointHook

__all__ = [
    'AtomicCheckpointHook',
    'CheckLabelsHook',
    'IterationSeedHook',
    'MergedGroupsHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'OptimStepEMAHook',
    'PlainCheckpointHook',
]
