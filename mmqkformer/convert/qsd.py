"""QSD-Transformer's release: Meta-SpikeFormer's names, and the steps of quantised weights."""

from collections.abc import Mapping

from torch import Tensor

from .meta_spikeformer import BLOCK, MARKS, RULES, WORDS, arguments
from .table import Family, register_family


def backbone(state_dict: Mapping[str, Tensor]) -> dict:
    """See :class:`Family`."""
    return dict(
        type='SpikingBackbone',
        arch=dict(base='qsd', **arguments(state_dict)),
        out='stream',
        quant=dict(type='LSQ', bits=4),
    )


register_family(
    Family(
        name='qsd',
        marks=[[*MARKS, 'block3.0.layer_scale1']],
        rules=[
            # Quantisers of activations, which pass them on as they are
            (r'.+\.act\.(alpha|zero_point|init_state|signed)', None),
            (rf'{BLOCK}\.(layer_scale[12])', 'backbone.{1}.blocks.{2}.{3}'),
            *RULES,
        ],
        words={'layer_scale1': 'attention_scale', 'layer_scale2': 'mlp_scale', **WORDS},
        backbone=backbone,
    )
)
