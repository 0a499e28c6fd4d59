"""mmqkformer: spiking vision transformers as OpenMMLab components.

Importing this package registers everything in mmengine's root registries, so that the bare names
resolve in every scope, and makes the models known to mmpretrain's hub where it is installed.
"""

# ruff: noqa: E402 - the check must come before the first import of OpenMMLab
from .version import __version__, check_dependencies

check_dependencies()

from . import analysis, datasets, engine, layers, models, neurons
from .hub import register_model_index

register_model_index()

__all__ = ['__version__', 'analysis', 'datasets', 'engine', 'layers', 'models', 'neurons']
