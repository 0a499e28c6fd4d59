"""Memory of one attention, against what its tensors take."""

import pytest

from mmqkformer.analysis.attention_memory import (
    KV_FIRST,
    PAPER,
    QK_FIRST,
    QKTA,
    attention_memory,
)


@pytest.mark.parametrize(('heads', 'side'), [(1, 1), (1, 2), (4, 2)])
def test_the_memory_of_an_attention_is_what_its_tensors_take(heads, side):
    channels, tokens = 64, side**2
    counted = {row.name: row.counted / 4 for row in attention_memory(side, channels, heads)}
    product = channels * tokens
    assert counted[QK_FIRST] == heads * tokens**2 + product
    assert counted[KV_FIRST] == channels**2 / heads + product
    # Masked keys, and the mask of each head
    assert counted[QKTA] == product + heads * tokens


def test_the_papers_memory_is_that_of_its_tensors():
    for side in PAPER[QKTA]:
        tokens, product = side**2, 256 * side**2
        # What is above is blocks of the allocator
        for name, values in ((QKTA, product + 3 * tokens), (QK_FIRST, tokens**2 + product)):
            assert 0.99 < PAPER[name][side] / (values / 2**18) < 1.09 or tokens <= 100
