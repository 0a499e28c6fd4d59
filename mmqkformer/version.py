"""The version of this package and the versions of PyTorch and OpenMMLab that it runs with."""

import functools
import importlib
from importlib import metadata

__version__ = '0.1.0'

# module: (first version that works, first version that is not known to work)
# torch: 2.6 made weights_only=True the default of torch.load and brought what tells its types
REQUIRED = {
    'torch': ('2.6.0', '3.0.0'),
    'mmengine': ('0.8.3', '1.0.0'),
    'mmcv': ('2.0.0', '2.4.0'),
}
OPTIONAL = {'mmpretrain': ('1.0.0', '2.0.0')}
# Frameworks of dense prediction: theirs and their forks' (3.4 and 1.3 upwards)
DENSE = {'mmdet': ('3.3.0', '4.0.0'), 'mmseg': ('1.2.0', '2.0.0')}


def check_dependencies() -> None:
    """Check that PyTorch and OpenMMLab are there, in versions that this package runs with.

    OpenMMLab's packages are not named in the installation requirements, because pip would then
    install mmcv over mmcv-lite, or an original over a fork that keeps its import name.

    Raises:
        ImportError: If torch, mmengine or mmcv is missing, or if one of them or mmpretrain is of a
            version outside its range.
    """
    for name, (low, high) in REQUIRED.items():
        try:
            version = importlib.import_module(name).__version__
        except ModuleNotFoundError as error:
            raise ImportError(
                f'mmqkformer needs {name}>={low},<{high}, which cannot be imported ({error}): '
                f'{_advice(name, low, high)}'
            ) from error
        _check_range(name, version, low, high)
    for name, (low, high) in OPTIONAL.items():
        version = _installed_version(name)
        if version is not None:
            _check_range(name, version, low, high)


def check_framework(scope: str) -> None:
    """Check what a config of mmpretrain, mmdet or mmseg runs with, before it is asked to build it.

    Args:
        scope (str): ``default_scope`` of the config; for any other nothing is done.

    Raises:
        ImportError: If the framework is missing, is of a version outside its range or fails when
            it is imported, or, of mmdet and mmseg, if mmcv has no compiled operators.
    """
    frameworks = OPTIONAL | DENSE
    if scope not in frameworks:
        return
    low, high = frameworks[scope]
    package = {'mmseg': 'mmsegmentation'}.get(scope, scope)
    advice = f'pip install "{package}>={low},<{high}"'
    try:
        framework = importlib.import_module(scope)
    except (ImportError, AssertionError) as error:
        if getattr(error, 'name', None) == 'pkg_resources':
            advice = 'pip install "setuptools<82", the last with pkg_resources'
        else:
            advice += ', and the mmcv that it asks for'
        raise ImportError(
            f'default_scope={scope!r} needs {package}>={low},<{high}, which cannot be imported '
            f'({error}): {advice}'
        ) from error
    _check_range(package, framework.__version__, low, high, advice)
    if scope not in DENSE:
        return
    try:
        importlib.import_module('mmcv.ops')
    except ImportError as error:
        import mmcv
        import torch

        raise ImportError(
            f'default_scope={scope!r} needs mmcv with its compiled operators, for torch '
            f'{torch.__version__}; the mmcv {mmcv.__version__} installed has none that load '
            f'({error}): python tools/misc/install_mmcv_ops.py, or make deps-det'
        ) from error


@functools.cache
def has_mmpretrain() -> bool:
    """Whether mmpretrain is installed and can be imported; it asserts what it runs with."""
    try:
        importlib.import_module('mmpretrain')
    except (ImportError, AssertionError):
        return False
    return True


def _check_range(name: str, version: str, low: str, high: str, advice: str | None = None) -> None:
    from mmengine.utils import digit_version

    if not digit_version(low) <= digit_version(version) < digit_version(high):
        raise ImportError(
            f'mmqkformer needs {name}>={low},<{high}, but {name} {version} is installed: '
            f'{advice or _advice(name, low, high)}'
        )


def _advice(name: str, low: str, high: str) -> str:
    advice = f'pip install "{name}>={low},<{high}"'
    if name == 'mmcv':
        advice += ' (or mmcv-lite, which needs no compiler; uninstall the one before the other)'
    return advice


def _installed_version(name: str) -> str | None:
    """The version of a package or of its fork, without importing it; None if not installed."""
    for distribution in (name, f'onedl-{name}'):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None
