"""Small whole numbers in as few bits as they need."""

from torch import Tensor
from torch.nn import functional as F


def bits_of(levels: int) -> int:
    """Bits of a whole number from 0 to ``levels``, at least one."""
    return max(1, levels.bit_length())


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Packs whole numbers ``[n]`` below ``2 ** bits``.

    A plane holds one bit of every number. Its byte i has those of the numbers ``i + k m``,
    ``k = 0, ..., 7``, so that all memory is read and written in order.

    Args:
        codes (Tensor): The numbers, uint8 ``[n]``.
        bits (int): Bits of a number, 1 to 8.

    Returns:
        Tensor: The planes, uint8 ``[bits, m]``, ``m = ceil(n / 8)``.
    """
    rows = F.pad(codes, (0, -codes.numel() % 8)).view(8, -1)
    planes = rows.new_zeros(bits, rows.size(1))
    for bit, plane in enumerate(planes):
        for k, row in enumerate(rows):
            plane |= ((row >> bit) & 1) << k if bits > 1 else row << k
    return planes


def unpack_bits(planes: Tensor, n: int) -> Tensor:
    """The whole numbers, uint8 ``[n]``, of planes ``[bits, ceil(n / 8)]``."""
    rows = planes.new_zeros(8, planes.size(1))
    for bit, plane in enumerate(planes):
        for k, row in enumerate(rows):
            row |= ((plane >> k) & 1) << bit
    return rows.view(-1)[:n]
