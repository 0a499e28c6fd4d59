"""What a spiking network does and costs: masks, operations, memory, what a batch changes."""

from .awaken import awaken
from .batch_of_one import BatchDifference, compare_with_batch_of_one
from .live_bytes import LiveBytes
from .masks import record_token_masks
from .memory import TrainingMemory, micro_batches, training_memory
from .operations import Operations, count_operations

__all__ = [
    'BatchDifference',
    'LiveBytes',
    'Operations',
    'TrainingMemory',
    'awaken',
    'compare_with_batch_of_one',
    'count_operations',
    'micro_batches',
    'record_token_masks',
    'training_memory',
]
