"""Make the zoo known to mmpretrain: ``list_models``, ``get_model``, the inferencers."""

import functools
import warnings
from pathlib import Path

from .version import has_mmpretrain

PACKAGE = Path(__file__).resolve().parent
# Families of other frameworks, which mmpretrain could not build
DENSE = ('detection', 'segmentation')


def zoo_root() -> Path:
    """The folder that holds ``model-index.yml``, ``configs``, ``tools`` and ``weights``.

    Returns:
        Path: ``.mim`` inside the package where it is installed, else the root of the repository.
    """
    installed = PACKAGE / '.mim'
    return installed if (installed / 'model-index.yml').is_file() else PACKAGE.parent


@functools.cache
def register_model_index(root: Path | None = None) -> None:
    """Register the models of ``<root>/model-index.yml`` in mmpretrain's hub, once per root.

    A metafile's relative ``Config:`` and ``Weights:`` are taken from ``root``, so that
    ``get_model(name, pretrained=True)`` finds the shipped weights without a network. Detectors and
    segmentation models are left out: mmdet and mmseg take the path of their config. Where
    mmpretrain cannot be imported nothing is done: the backbones serve other scopes without it.

    Args:
        root (Path, optional): Folder of the index. Defaults to :func:`zoo_root`.
    """
    if not has_mmpretrain():
        return
    from mmpretrain.apis import ModelHub

    root = root or zoo_root()
    index = root / 'model-index.yml'
    if not index.is_file():
        warnings.warn(f'{index} is missing: mmpretrain will not know this zoo', stacklevel=2)
        return
    known = set(ModelHub._models_dict)
    ModelHub.register_model_index(index, config_prefix=root)
    for name in set(ModelHub._models_dict) - known:
        model = ModelHub._models_dict[name]
        if Path(model.config).relative_to(Path(root).resolve() / 'configs').parts[0] in DENSE:
            del ModelHub._models_dict[name]
            continue
        if model.weights and '://' not in model.weights:
            model.weights = str(root / model.weights)
