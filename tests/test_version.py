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
