"""What a spiking network does and costs: masks, operations, memory, what a batch changes."""

from .attention import Attention, TokenMap, record_attention
from .awaken import awaken
from .batch_of_one import BatchDifference, compare_with_batch_of_one
from .feature_maps import Raster, StageMap, below, record_rasters, record_stage_maps
from .live_bytes import LiveBytes
from .memory import TrainingMemory, micro_batches, training_memory
from .operations import LayerOperations, Operations, count_operations
from .record import recording
from .saved_bytes import SavedBytes, saved_bytes

__all__ = [
    'Attention',
    'BatchDifference',
    'LayerOperations',
    'LiveBytes',
    'Operations',
    'Raster',
    'SavedBytes',
    'StageMap',
    'TokenMap',
    'TrainingMemory',
    'awaken',
    'below',
    'compare_with_batch_of_one',
    'count_operations',
    'micro_batches',
    'record_attention',
    'record_rasters',
    'record_stage_maps',
    'recording',
    'saved_bytes',
    'training_memory',
]
