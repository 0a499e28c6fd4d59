"""Is it really spikes? What of a network a neuromorphic chip could not run as additions."""

from dataclasses import dataclass

from .synops import KINDS, Factor, LayerWork, Remark, Work


@dataclass(frozen=True)
class Purity:
    """What of a network is additions of spikes.

    Attributes:
        shares (dict[str, float]): Share of the dense products by kind: ``binary`` (additions of
            binary spikes), ``integer`` (additions of numbers of spikes), ``analogue``
            (multiplications and additions).
        impure (list[Remark]): What is not additions of spikes, and does not fold.
        folds (list[Remark]): What is not, and folds into weights or thresholds.
    """

    shares: dict[str, float]
    impure: list[Remark]
    folds: list[Remark]


def purity(work: Work) -> Purity:
    """Tells what of a network is additions of spikes.

    Args:
        work (Work): What :func:`measure_work` tells of it, best of the network as it is deployed,
            its norms folded (:func:`mmqkformer.deploy.fuse`).
    """
    whole = max(work.dense(), 1)
    layers = [
        Remark(layer.name, reason, folds=False) for layer in work.layers if (reason := _why(layer))
    ]
    return Purity(
        {kind: work.dense(kind) / whole for kind in KINDS},
        layers + [remark for remark in work.remarks if not remark.folds],
        [remark for remark in work.remarks if remark.folds],
    )


def _why(layer: LayerWork) -> str | None:
    """Why a layer is no additions of spikes."""
    if layer.kind == 'analogue':
        return ' and '.join(f'takes {_explained(f)}' for f in layer.factors) or 'takes constants'
    if len(layer.factors) == 2 and all(factor.kind == 'integer' for factor in layer.factors):
        most = ' and '.join(str(factor.most) for factor in layer.factors)
        return f'multiplies two numbers of spikes, up to {most}: repeated additions'
    return None


def _explained(factor: Factor) -> str:
    made_of = factor.made_of
    if made_of.startswith('means'):
        return f'{made_of}: as additions it would run before the mean, once for each of its values'
    if 'currents' in made_of:
        return f'{made_of}: no neuron stands between'
    return f'{made_of}: analogue numbers'
