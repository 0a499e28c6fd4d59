"""Hooks, schedules and optimizer wrappers for mmengine's runner."""

from .hooks import (
    AtomicCheckpointHook,
    IterationSeedHook,
    NonFiniteLossError,
    NonFiniteLossHook,
    OptimStepEMAHook,
    PlainCheckpointHook,
)
from .optim_wrappers import CPUAmpOptimWrapper
from .schedulers import WarmupCosineLR

__all__ = [
    'AtomicCheckpointHook',
    'CPUAmpOptimWrapper',
    'IterationSeedHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'OptimStepEMAHook',
    'PlainCheckpointHook',
    'WarmupCosineLR',
]
