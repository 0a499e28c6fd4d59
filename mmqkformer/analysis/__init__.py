"""What a spiking network does and costs: masks over time, operations, memory of a training step."""

from .live_bytes import LiveBytes
from .masks import record_token_masks
from .memory import TrainingMemory, micro_batches, training_memory
from .operations import Operations, count_operations

__all__ = [
    'LiveBytes',
    'Operations',
    'TrainingMemory',
    'count_operations',
    'micro_batches',
    'record_token_masks',
    'training_memory',
]
