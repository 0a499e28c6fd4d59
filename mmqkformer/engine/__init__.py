"""Hooks, schedules, optimizer wrappers and parameter groups for mmengine's runner."""

from .hooks import (
    AtomicCheckpointHook,
    EagerPreprocessingHook,
    IterationSeedHook,
    NonFiniteLossError,
    NonFiniteLossHook,
    OptimStepEMAHook,
    PlainCheckpointHook,
)
from .optim_constructors import StageOptimWrapperConstructor
from .optim_wrappers import CPUAmpOptimWrapper
from .schedulers import WarmupCosineLR

__all__ = [
    'AtomicCheckpointHook',
    'CPUAmpOptimWrapper',
    'EagerPreprocessingHook',
    'IterationSeedHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'OptimStepEMAHook',
    'PlainCheckpointHook',
    'StageOptimWrapperConstructor',
    'WarmupCosineLR',
]
