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

# Of HST-10-768 at 224 on the test set of ImageNet, by stage
PUBLISHED_RATES = {
    'stage 1': {
        'Q': 0.0432,
        'K': 0.1784,
        'A_t': 0.3477,
        "X'": 0.0832,
        "X''": 0.1478,
        'MLP 1': 0.0518,
        'MLP 2': 0.2733,
    },
    'stage 2': {
        'Q': 0.0231,
        'K': 0.0847,
        'A_t': 0.2655,
        "X'": 0.0350,
        "X''": 0.0577,
        'MLP 1': 0.0246,
        'MLP 2': 0.1869,
    },
}
