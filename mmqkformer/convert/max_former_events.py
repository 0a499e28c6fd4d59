"""Max-Former's release for events."""

from functools import partial

from .max_former import (
    BETWEEN,
    BLOCK,
    HEAD,
    MIXER,
    STEM,
    WORDS,
    attention_rules,
    backbone,
    embed_rules,
)
from .table import Family, register_family

register_family(
    Family(
        name='max_former_events',
        marks=[['patch_embed1.max_embed3.embed_conv.weight', 'stage1.0.mixer.conv.weight']],
        rules=[
            *embed_rules(
                STEM,
                'proj_',
                'max_embed1',
                'max_embed2',
                'max_embed3',
                neurons={f'max_embed{i + 1}': f'convs.{i}.neuron' for i in range(3)},
                shortcut='embed1',
            ),
            *BETWEEN,
            *MIXER,
            *attention_rules('stage2'),
            # Each layer of the MLP has a shortcut, and so is a branch
            (rf'{BLOCK}\.mlp\.(fc[12])_lif', 'backbone.{1}.blocks.{2}.{3}_neuron'),
            (rf'{BLOCK}\.mlp\.(fc[12])_(conv|bn)', 'backbone.{1}.blocks.{2}.{3}.conv.{4}'),
            *HEAD,
        ],
        words=WORDS,
        backbone=partial(backbone, 'events'),
    )
)
