"""Hooks: safe checkpoints, averages, seeds, and a stop at a non-finite loss."""

from .atomic_checkpoint import AtomicCheckpointHook
from .iteration_seed import IterationSeedHook
from .non_finite_loss import NonFiniteLossError, NonFiniteLossHook
from .optim_step_ema import OptimStepEMAHook
from .partial_load import PartialLoadHook
from .plain_checkpoint import PlainCheckpointHook
from .preemption import PreemptedError, PreemptionHook

__all__ = [
    'AtomicCheckpointHook',
    'IterationSeedHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'OptimStepEMAHook',
    'PartialLoadHook',
    'PlainCheckpointHook',
    'PreemptedError',
    'PreemptionHook',
]
