"""The packages that mmqkformer runs with, and its words about those that it does not."""

import re
import sys

import mmcv
import mmengine
import pytest
import torch

from mmqkformer import version


def test_this_environment_is_accepted():
    version.check_dependencies()


@pytest.mark.parametrize(
    ('module', 'installed'),
    [(mmcv, '2.4.0'), (mmcv, '1.7.2'), (mmengine, '0.8.2'), (torch, '2.5.1+cu121')],
)
def test_version_out_of_range_is_named(monkeypatch, module, installed):
    monkeypatch.setattr(module, '__version__', installed)
    name = module.__name__
    with pytest.raises(ImportError, match=rf'needs {name}>=.*but {name} {re.escape(installed)} is'):
        version.check_dependencies()


@pytest.mark.parametrize('name', ['mmcv', 'mmengine', 'torch'])
def test_missing_package_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'needs {name}>=.*pip install "{name}>='):
        version.check_dependencies()


@pytest.mark.parametrize('error', [ImportError, AssertionError])
def test_mmpretrain_that_cannot_be_imported_is_done_without(monkeypatch, error):
    """mmpretrain asserts the versions that it runs with when it is imported."""

    def refuse(name):
        raise error(name)

    monkeypatch.setattr(version.importlib, 'import_module', refuse)
    assert not version.has_mmpretrain.__wrapped__()


def test_mmpretrain_may_be_missing_but_not_too_old(monkeypatch):
    monkeypatch.setattr(version, '_installed_version', lambda name: None)
    version.check_dependencies()
    monkeypatch.setattr(version, '_installed_version', lambda name: '0.25.0')
    with pytest.raises(ImportError, match=r'but mmpretrain 0\.25\.0 is installed'):
        version.check_dependencies()


@pytest.mark.parametrize(
    ('missing', 'advice'), [('rich', 'install "mmpretrain>='), ('pkg_resources', '"setuptools<82"')]
)
def test_a_config_of_an_mmpretrain_that_cannot_be_imported_says_why(monkeypatch, missing, advice):
    """The package does without it, so that all that its config would name is unknown."""

    def refuse(name):
        raise ModuleNotFoundError(f'No module named {missing!r}', name=missing)

    monkeypatch.setattr(version.importlib, 'import_module', refuse)
    with pytest.raises(
        ImportError, match=rf"'mmpretrain' needs .*No module named '{missing}'.*{advice}"
    ):
        version.check_framework('mmpretrain')


@pytest.mark.det
@pytest.mark.seg
def test_frameworks_of_this_environment_are_accepted():
    for scope in ('mmpretrain', 'mmdet', 'mmseg'):
        version.check_framework(scope)


@pytest.mark.det
def test_framework_out_of_range_is_named(monkeypatch):
    import mmdet

    monkeypatch.setattr(mmdet, '__version__', '3.2.0')
    with pytest.raises(ImportError, match=r'mmdet>=3\.3\.0,<4\.0\.0, but mmdet 3\.2\.0 is'):
        version.check_framework('mmdet')


@pytest.mark.parametrize(('scope', 'package'), [('mmdet', 'mmdet'), ('mmseg', 'mmsegmentation')])
def test_missing_framework_is_named(monkeypatch, scope, package):
    monkeypatch.setitem(sys.modules, scope, None)
    with pytest.raises(ImportError, match=rf'{scope}.*needs {package}>=.*pip install "{package}>='):
        version.check_framework(scope)


def test_framework_that_refuses_mmcv_is_named(monkeypatch):
    """mmdet asserts the mmcv that it runs with when it is imported."""
    words = 'MMCV==2.2.0 is used but incompatible'

    def refuse(name):
        raise AssertionError(words)

    monkeypatch.setattr(version.importlib, 'import_module', refuse)
    with pytest.raises(ImportError, match=words):
        version.check_framework('mmdet')


@pytest.mark.det
def test_mmcv_without_operators_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
    with pytest.raises(ImportError, match=r'needs mmcv with its compiled operators.*make deps-det'):
        version.check_framework('mmdet')
