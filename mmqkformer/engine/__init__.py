"""Hooks, metrics, schedules, optimizer wrappers and parameter groups for mmengine's runner."""

from .hooks import (
    AtomicCheckpointHook,
    CheckLabelsHook,
    EagerPreprocessingHook,
    EpochLogHook,
    GradNormHook,
    IterationSeedHook,
    MergedGroupsHook,
    NonFiniteLossError,
    NonFiniteLossHook,
    OptimStepEMAHook,
    PartialLoadHook,
    PlainCheckpointHook,
    PreemptedError,
    PreemptionHook,
    SyncStatisticsHook,
    ValidationLossHook,
)
from .loops import ResumableTrainLoop
from .metrics import CrossEntropy
from .optim_constructors import MergedOptimWrapperConstructor, StageOptimWrapperConstructor
from .optim_wrappers import CPUAmpOptimWrapper
from .schedulers import WarmupCosineLR

__all__ = [
    'AtomicCheckpointHook',
    'CPUAmpOptimWrapper',
    'CheckLabelsHook',
    'CrossEntropy',
    'EagerPreprocessingHook',
    'EpochLogHook',
    'GradNormHook',
    'IterationSeedHook',
    'MergedGroupsHook',
    'MergedOptimWrapperConstructor',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'OptimStepEMAHook',
    'PartialLoadHook',
    'PlainCheckpointHook',
    'PreemptedError',
    'PreemptionHook',
    'ResumableTrainLoop',
    'StageOptimWrapperConstructor',
    'SyncStatisticsHook',
    'ValidationLossHook',
    'WarmupCosineLR',
]
