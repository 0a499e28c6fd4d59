"""What a spiking network does and costs: token masks, operations, what a batch changes."""

from .awaken import awaken
from .batch_of_one import BatchDifference, compare_with_batch_of_one
from .masks import record_token_masks
from .operations import Operations, count_operations

__all__ = [
    'BatchDifference',
    'Operations',
    'awaken',
    'compare_with_batch_of_one',
    'count_operations',
    'record_token_masks',
]
