"""Small whole numbers in as few bits as they need."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..kernels import CupyLauncher, Launcher, computes, together

_LAUNCHER: Launcher = CupyLauncher()


def pack(values: Tensor, bits: int) -> Tensor:
    """Packs whole numbers ``[n]`` below ``2 ** bits``, in one pass where kernels compute it.

    Args:
        values (Tensor): The numbers, ``[n]``, of any type that has them.
        bits (int): Bits of a number, 1 to 8.

    Returns:
        Tensor: The planes of :func:`pack_bits`, of a kernel maybe with some bytes more each.
    """
    row = values[None]
    if not (_LAUNCHER.reaches(values) and computes(row)):
        return pack_bits(values.to(torch.uint8), bits)
    n, size = values.numel(), together(row, among=0)
    # Whole packs, of which every row begins with one
    m = -(-n // (8 * size)) * size
    planes = values.new_empty(bits, m, dtype=torch.uint8)
    _LAUNCHER.launch('pack_bits', row, m // size, values, planes, n, m, bits, together=size)
    return planes


def unpack(planes: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """The whole numbers ``[n]`` of :func:`pack`, as a type that has them."""
    values = planes.new_empty(n, dtype=dtype)
    row = values[None]
    if not (_LAUNCHER.reaches(planes) and computes(row)):
        return unpack_bits(planes, n).to(dtype)
    bits, m = planes.shape
    size = together(row, among=m)
    _LAUNCHER.launch('unpack_bits', row, m // size, planes, values, n, m, bits, together=size)
    return values


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
