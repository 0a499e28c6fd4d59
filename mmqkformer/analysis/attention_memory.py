"""Memory of one attention by the number of tokens, beside the paper's (Table 8)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from ..layers.attention import QKTokenAttention, SpikingSelfAttention
from .live_bytes import WORKING, LiveBytes

QKTA, QK_FIRST, KV_FIRST = 'QKTA', 'SSA, (q k^T) v', 'SSA, q (k^T v)'
PAPER_CHANNELS = 256
PAPER_SIDES = (10, 20, 30, 40, 50, 60, 80, 100, 120, 140, 160, 180, 200)
_QKTA = (0.10, 0.40, 0.89, 1.58, 2.47, 3.56, 6.32, 10.35, 14.23, 20.22, 26.29, 32.37, 40.46)
_SSA = (0.14, 1.00, 3.97, 12.19, 26.44, 53.52, 162.50, 391.77, 806.06, 1485.14, 2525.00, 4036.88)
# MB of 2^20 bytes by sqrt N, of one head
PAPER = {
    QKTA: dict(zip(PAPER_SIDES, _QKTA, strict=True)),
    QK_FIRST: dict(zip(PAPER_SIDES, (*_SSA, 6143.06), strict=True)),
}


@dataclass
class AttentionMemory:
    """One attention on one number of tokens.

    Attributes:
        side (int): The root of the number of tokens.
        name (str): Which attention.
        counted (int): Bytes.
        measured (int | None): Bytes on a GPU; None without one, or where they do not fit.
        paper (float | None): MB of 2^20 bytes that the paper gives for it.
    """

    side: int
    name: str
    counted: int
    measured: int | None
    paper: float | None


def attention_memory(
    side: int, channels: int = PAPER_CHANNELS, heads: int = 1
) -> list[AttentionMemory]:
    """Counts the memory of Q-K token attention, and of spiking self attention in both orders.

    Counted is what is allocated at the peak beyond Q, K and V, in float32 for one step of one image
    and without the projection: of Q-K token attention up to the masked K, its neuron included; of
    spiking self attention the two products, without the neuron behind them, by which the paper gets
    its own figures: C N + 3 N values, and N^2 + C N. The bytes are those of the package's layers,
    counted on tensors without data; on a GPU they are also measured.

    Args:
        side (int): The root of the number of tokens N.
        channels (int): C. Defaults to the paper's.
        heads (int): A divisor of C. Defaults to 1, as in the paper.

    Returns:
        list[AttentionMemory]: QKTA, SSA by ``(q k^T) v`` and SSA by ``q (k^T v)``.
    """
    as_published = (channels, heads) == (PAPER_CHANNELS, 1)
    return [
        AttentionMemory(
            side,
            name,
            _counted(attention, channels, side),
            _measured(attention, channels, side),
            PAPER.get(name, {}).get(side) if as_published else None,
        )
        for name, attention in _attentions(channels, heads).items()
    ]


def _attentions(channels: int, heads: int) -> dict[str, Callable[[Tensor, Tensor, Tensor], object]]:
    """What each makes of Q, K and V ``[T, B, C, H, W]``, by name."""
    neuron = dict(type='LIFNeuron', backend='torch')
    args = dict(embed_dims=channels, num_heads=heads, neuron=neuron, norm_cfg=dict(type='BN'))
    masking = QKTokenAttention(**args)

    def products(order: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        attention = SpikingSelfAttention(**args, contraction=order)

        def run(*tensors: Tensor) -> Tensor:
            return attention.contract(*(x.flatten(3).unflatten(2, (heads, -1)) for x in tensors))

        return run

    return {
        QKTA: lambda q, k, v: masking.masked(q, k),
        QK_FIRST: products('qk_first'),
        KV_FIRST: products('kv_first'),
    }


@torch.no_grad()
def _counted(attention: Callable[..., object], channels: int, side: int) -> int:
    with FakeTensorMode(), LiveBytes() as live:
        tensors = [torch.empty(1, 1, channels, side, side) for _ in range(3)]
        live.label(tensors, 'given')
        attention(*tensors)
    return live.peak[WORKING]


@torch.no_grad()
def _measured(attention: Callable[..., object], channels: int, side: int) -> int | None:
    if not torch.cuda.is_available():
        return None
    tensors = [torch.randint(2, (1, 1, channels, side, side)).float().cuda() for _ in range(3)]
    try:
        attention(*tensors)  # libraries keep workspaces from their first call on
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        attention(*tensors)
    except torch.OutOfMemoryError:
        return None
    return torch.cuda.max_memory_allocated() - before


def draw_attention_memory(figure: Figure, rows: Sequence[AttentionMemory]) -> None:
    """Draws memory by the number of tokens, lines as counted and circles as published.

    Args:
        figure (Figure): Figure to draw into.
        rows (Sequence[AttentionMemory]): Of several sides.
    """
    axes = figure.subplots()
    for name in dict.fromkeys(row.name for row in rows):
        of_one = [row for row in rows if row.name == name]
        tokens = [row.side**2 for row in of_one]
        (line,) = axes.plot(tokens, [row.counted / 2**20 for row in of_one], label=name)
        published = [(row.side**2, row.paper) for row in of_one if row.paper is not None]
        if published:
            label = f'{name}, paper'
            axes.plot(*zip(*published), 'o', color=line.get_color(), label=label, fillstyle='none')
    axes.set(xscale='log', yscale='log', xlabel='tokens', ylabel='MB')
    axes.legend(fontsize='small')
