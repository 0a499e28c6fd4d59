"""Pictures of what a network does."""

from .album import (
    Picture,
    channels_picture,
    heads_picture,
    overlay_picture,
    qk_picture,
    query_picture,
    raster_picture,
    stages_picture,
)
from .inputs import input_pictures
from .maps import draw_channel_mask, draw_stage_maps, draw_token_attention
from .overlays import draw_overlays, overlay, overlay_arrays
from .rasters import draw_raster

__all__ = [
    'Picture',
    'channels_picture',
    'draw_channel_mask',
    'draw_overlays',
    'draw_raster',
    'draw_stage_maps',
    'draw_token_attention',
    'heads_picture',
    'input_pictures',
    'overlay',
    'overlay_arrays',
    'overlay_picture',
    'qk_picture',
    'query_picture',
    'raster_picture',
    'stages_picture',
]
