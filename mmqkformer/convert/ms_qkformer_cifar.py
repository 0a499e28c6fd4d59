"""MS-QKFormer of Max-Former's release for CIFAR."""

from .max_former import HEAD, STEM, WORDS, embed_rules
from .ms_qkformer import BLOCKS, backbone
from .table import Family, register_family

register_family(
    Family(
        name='ms_qkformer_cifar',
        marks=[
            [
                'patch_embed1.embed2.embed_conv.weight',
                'patch_embed2.embed2.embed_conv.weight',
                'stage1.0.attn.q_conv.weight',
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
            *embed_rules(
                '(patch_embed[23])',
                'embed1',
                'max_embed1',
                neurons={'embed1': 'neuron', 'max_embed1': 'convs.0.neuron'},
                shortcut='embed2',
            ),
            *BLOCKS,
            *HEAD,
        ],
        words=WORDS,
        backbone=backbone,
    )
)
