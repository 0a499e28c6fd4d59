"""MS-QKFormer (arXiv 2505.18608): QKFormer with membrane shortcuts."""

from collections.abc import Sequence

from .qkformer import SIZES, hst
from .registry import register_arch


@register_arch(
    'ms_qkformer', **{name.replace('hst', 'ms-qkformer'): size for name, size in SIZES.items()}
)
def ms_qkformer(
    embed_dims: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    mlp_ratios: Sequence[float],
    attentions: Sequence[str | dict],
    stem: dict,
    pool: str,
) -> list[dict]:
    """The stages of :func:`~mmqkformer.models.archs.qkformer.hst`, neurons first in every branch.

    The release has no model for events: ``ms-qkformer-2-256`` is QKFormer's with membrane
    shortcuts.

    Args:
        embed_dims (Sequence[int]): Channels of each stage.
        depths (Sequence[int]): Blocks of each stage.
        num_heads (Sequence[int]): Heads of each stage, for attentions given by name.
        mlp_ratios (Sequence[float]): Hidden channels of the MLP over the stage's.
        attentions (Sequence[str | dict]): Attention of each stage, by name or as a config.
        stem (dict): Arguments of ``PEDSStem``, the first embedding.
        pool (str): Of ``PEDS``, the others: ``first`` or ``last``.

    Returns:
        list[dict]: The stages.

    Raises:
        ValueError: See :func:`~mmqkformer.models.archs.qkformer.hst`.
    """
    stages = hst(embed_dims, depths, num_heads, mlp_ratios, attentions, stem, pool)
    return [
        dict(
            stage,
            embed=dict(stage['embed'], residual='membrane'),
            block=dict(stage['block'], residual='membrane'),
        )
        for stage in stages
    ]
