"""What a spiking network does and costs: rates, masks, operations, memory, effects of a batch."""

from .awaken import awaken
from .batch_of_one import BatchDifference, compare_with_batch_of_one
from .live_bytes import LiveBytes
from .masks import record_token_masks
from .memory import TrainingMemory, micro_batches, training_memory
from .operations import LayerOperations, Operations, count_operations
from .rates import FiringRates, LayerRate, firing_rates, table_7
from .record import recording
from .saved_bytes import SavedBytes, saved_bytes

__all__ = [
    'BatchDifference',
    'FiringRates',
    'LayerOperations',
    'LayerRate',
    'LiveBytes',
    'Operations',
    'SavedBytes',
    'TrainingMemory',
    'awaken',
    'compare_with_batch_of_one',
    'count_operations',
    'firing_rates',
    'micro_batches',
    'record_token_masks',
    'recording',
    'saved_bytes',
    'table_7',
    'training_memory',
]
