"""What a spiking network does and costs: masks of its attentions over time, its operations."""

from .masks import record_token_masks
from .operations import Operations, count_operations

__all__ = ['Operations', 'count_operations', 'record_token_masks']
