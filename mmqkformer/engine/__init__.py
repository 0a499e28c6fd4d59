"""Hooks, schedules, optimizer wrappers and parameter groups for mmengine's runner."""

from .hooks import (
    AtomicCheckpointHook,
    IterationSeedHook,
    NonFiniteLossError,
    NonFiniteLossHook,
    OptimStepEMAHook,
    PartialLoadHook,
    PlainCheckpointHook,
    PreemptedError,
    PreemptionHook,
)
from .loops import ResumableTrainLoop
from .optim_constructors import StageOptimWrapperConstructor
from .optim_wrappers import CPUAmpOptimWrapper
from .schedulers import WarmupCosineLR

__all__ = [
    'AtomicCheckpointHook',
    'CPUAmpOptimWrapper',
    'IterationSeedHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'OptimStepEMAHook',
    'PartialLoadHook',
    'PlainCheckpointHook',
    'PreemptedError',
    'PreemptionHook',
    'ResumableTrainLoop',
    'StageOptimWrapperConstructor',
    'WarmupCosineLR',
]
