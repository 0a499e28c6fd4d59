"""Hooks: safe checkpoints, averages, seeds, logs, and a stop at a non-finite loss."""

from .atomic_checkpoint import AtomicCheckpointHook
from .check_labels import CheckLabelsHook
from .eager_preprocessing import EagerPreprocessingHook
from .epoch_log import EpochLogHook
from .firing_rate_penalty import FiringRatePenaltyHook
from .grad_norm import GradNormHook
from .iteration_seed import IterationSeedHook
from .merged_groups import MergedGroupsHook
from .non_finite_loss import NonFiniteLossError, NonFiniteLossHook
from .optim_step_ema import OptimStepEMAHook
from .partial_load import PartialLoadHook
from .plain_checkpoint import PlainCheckpointHook
from .preemption import PreemptedError, PreemptionHook
from .sync_statistics import SyncStatisticsHook
from .validation_loss import ValidationLossHook

__all__ = [
    'AtomicCheckpointHook',
    'CheckLabelsHook',
    'EagerPreprocessingHook',
    'EpochLogHook',
    'FiringRatePenaltyHook',
    'GradNormHook',
    'IterationSeedHook',
    'MergedGroupsHook',
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
