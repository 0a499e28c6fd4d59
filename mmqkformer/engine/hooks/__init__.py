"""Hooks: safe checkpoints, averages, seeds, logs, and a stop at a non-finite loss."""

from .atomic_checkpoint import AtomicCheckpointHook
from .eager_preprocessing import EagerPreprocessingHook
from .epoch_log import EpochLogHook
from .grad_norm import GradNormHook
from .iteration_seed import IterationSeedHook
from .non_finite_loss import NonFiniteLossError, NonFiniteLossHook
from .optim_step_ema import OptimStepEMAHook
from .partial_load import PartialLoadHook
from .plain_checkpoint import PlainCheckpointHook
from .preemption import PreemptedError, PreemptionHook
from .sync_statistics import SyncStatisticsHook
from .validation_loss import ValidationLossHook

__all__ = [
    'AtomicCheckpointHook',
    'EagerPreprocessingHook',
    'EpochLogHook',
    'GradNormHook',
    'IterationSeedHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'OptimStepEMAHook',
    'PartialLoadHook',
    'PlainCheckpointHook',
    'PreemptedError',
    'PreemptionHook',
    'SyncStatisticsHook',
    'ValidationLossHook',
]
