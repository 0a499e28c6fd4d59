"""What a spiking network does and costs: masks, operations, memory, what a batch changes."""

from .awaken import awaken
from .batch_independence import BatchRow, batch_independence, with_batch_leak
from .batch_of_one import BatchDifference, compare_with_batch_of_one
from .compare_curves import Comparison, Rule, compare_curves
from .curves import Curves, read_curves, read_work_dir, released_curves
from .live_bytes import LiveBytes
from .masks import record_token_masks
from .memory import TrainingMemory, micro_batches, training_memory
from .operations import LayerOperations, Operations, count_operations
from .record import recording
from .recovery import Recovery, recover
from .saved_bytes import SavedBytes, saved_bytes

__all__ = [
    'BatchDifference',
    'BatchRow',
    'Comparison',
    'Curves',
    'LayerOperations',
    'LiveBytes',
    'Operations',
    'Recovery',
    'Rule',
    'SavedBytes',
    'TrainingMemory',
    'awaken',
    'batch_independence',
    'compare_curves',
    'compare_with_batch_of_one',
    'count_operations',
    'micro_batches',
    'read_curves',
    'read_work_dir',
    'record_token_masks',
    'recording',
    'recover',
    'released_curves',
    'saved_bytes',
    'training_memory',
    'with_batch_leak',
]
