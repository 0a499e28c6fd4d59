"""Hooks, schedules, optimizer wrappers and parameter groups for mmengine's runner."""

from .hooks import (
    AtomicCheckpointHook,
    CheckLabelsHook,
    IterationSeedHook,
    MergedGroupsHook,
    NonFiniteLossError,
    NonFiniteLossHook,
    OptimStepEMAHook,
    PlainCheckpointHook,
)
from .optim_constructors import MergedOptimWrapperConstructor, StageOptimWrapperConstructor
from .optim_wrappers import CPUAmpOptimWrapper
from .schedulers import WarmupCosineLR

__all__ = [
    'AtomicCheckpointHook',
    'CPUAmpOptimWrapper',
    'CheckLabelsHook',
    'IterationSeedHook',
    'MergedGroupsHook',
    'MergedOptimWrapperConstructor',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'OptimStepEMAHook',
    'PlainCheckpointHook',
    'StageOptimWrapperConstructor',
    'WarmupCosineLR',
]
