"""What a spiking network does: masks of its attentions over time."""

from .masks import record_token_masks

__all__ = ['record_token_masks']
