"""Energies and firing rates that the QKFormer paper publishes: facts, not measured here.

Of "QKFormer: Hierarchical Spiking Transformer using Q-K Attention", energies as in its NeurIPS 2024
version, firing rates as in Table 7 of arXiv 2403.16552v1.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedEnergy:
    """The energy of one image of ImageNet.

    Attributes:
        config (str): Name of the config of this model.
        model (str): The paper's name.
        size (int): Height and width of the image.
        energy_mj (float): In mJ.
    """

    config: str
    model: str
    size: int
    energy_mj: float


PUBLISHED_ENERGIES = (
    PublishedEnergy('hst-10-384_8xb64_in1k', 'HST-10-384', 224, 15.13),
    PublishedEnergy('hst-10-512_8xb64_in1k', 'HST-10-512', 224, 21.99),
    PublishedEnergy('hst-10-768_8xb64_in1k', 'HST-10-768', 224, 38.91),
    PublishedEnergy('hst-10-768-t1_8xb64_in1k', 'HST-10-768, T = 1', 224, 8.52),
    PublishedEnergy('hst-10-768_in1k-288px', 'HST-10-768', 288, 64.27),
    PublishedEnergy('hst-10-768_8xb64_in1k-384px', 'HST-10-768', 384, 113.64),
)

# Of the paper's Table 7. A is A_t, or A_c of an attention over channels
COLUMNS = ('Q', 'K', 'A', "X'", "X''", 'MLP 1', 'MLP 2')
# HST-10-768 at 224 on the test set of ImageNet, by stage
PAPER_TABLE_7 = {
    1: dict(zip(COLUMNS, (0.0432, 0.1784, 0.3477, 0.0832, 0.1478, 0.0518, 0.2733))),
    2: dict(zip(COLUMNS, (0.0231, 0.0847, 0.2655, 0.0350, 0.0577, 0.0246, 0.1869))),
}
