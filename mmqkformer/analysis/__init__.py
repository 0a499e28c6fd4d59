"""What a spiking network does and costs: masks, operations, memory, what a batch changes."""

from .awaken import awaken
from .batch_of_one import BatchDifference, compare_with_batch_of_one
from .early_exit import (
    EarlyExit,
    ExitPoint,
    ExitRule,
    StepCosts,
    StepPredictions,
    exit_early,
    measure_steps,
    predict_over_time,
    sweep_thresholds,
)
from .live_bytes import LiveBytes
from .masks import record_token_masks
from .memory import TrainingMemory, micro_batches, training_memory
from .operations import LayerOperations, Operations, count_operations
from .record import recording
from .saved_bytes import SavedBytes, saved_bytes
from .stepwise import StepwiseRun, logits_over_time, run_stepwise

__all__ = [
    'BatchDifference',
    'EarlyExit',
    'ExitPoint',
    'ExitRule',
    'LayerOperations',
    'LiveBytes',
    'Operations',
    'SavedBytes',
    'StepCosts',
    'StepPredictions',
    'StepwiseRun',
    'TrainingMemory',
    'awaken',
    'compare_with_batch_of_one',
    'count_operations',
    'exit_early',
    'logits_over_time',
    'measure_steps',
    'micro_batches',
    'predict_over_time',
    'record_token_masks',
    'recording',
    'run_stepwise',
    'saved_bytes',
    'sweep_thresholds',
    'training_memory',
]
