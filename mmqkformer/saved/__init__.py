"""What autograd keeps for the backward pass: spikes as bits, and what can be computed again not."""

from .saver import MEMORY, saving, suspended
from .steps import (
    added,
    carried,
    cast,
    convolved,
    derived,
    max_pooled,
    moved,
    multiplied,
    normalised,
    note_spikes,
    recomputable,
    sum_of,
)

__all__ = [
    'MEMORY',
    'added',
    'carried',
    'cast',
    'convolved',
    'derived',
    'max_pooled',
    'moved',
    'multiplied',
    'normalised',
    'note_spikes',
    'recomputable',
    'saving',
    'sum_of',
    'suspended',
]
