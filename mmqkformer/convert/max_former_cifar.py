"""Max-Former's release for CIFAR."""

from functools import partial

from .max_former import (
    BETWEEN,
    HEAD,
    MIXER,
    MLP,
    STEM,
    WORDS,
    attention_rules,
    backbone,
    embed_rules,
)
from .table import Family, register_family

register_family(
    Family(
        name='max_former_cifar',
        marks=[
            [
                'patch_embed1.proj_conv.weight',
                'patch_embed1.embed2.embed_conv.weight',
                'patch_embed2.max_embed2.embed_conv.weight',
            ]
        ],
        rules=[
            # Branch and shortcut have a neuron each, which see the same and fire alike
            *embed_rules(
                STEM,
                'proj_',
                'embed1',
                neurons={'embed[12]': 'convs.0.neuron'},
                shortcut='embed2',
            ),
            *BETWEEN,
            *MIXER,
            *attention_rules('stage3'),
            *MLP,
            *HEAD,
        ],
        words=WORDS,
        backbone=partial(backbone, 'cifar'),
    )
)
