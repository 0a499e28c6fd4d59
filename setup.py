"""Installation of mmqkformer.

The config files, the tools, the model index and the shipped weights lie at the root of the
repository; installed, they lie in the package's ``.mim`` folder, as in every OpenMMLab package:
copied into a wheel, linked for an editable install.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop

ROOT = Path(__file__).resolve().parent
PACKAGE = 'mmqkformer'
MIM_ENTRIES = ('configs', 'tools', 'weights', 'model-index.yml')


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding='utf-8')


def version() -> str:
    return re.search(r"^__version__ = '(.+)'$", read(f'{PACKAGE}/version.py'), re.M).group(1)


def requirements(name: str) -> list:
    lines = (line.strip() for line in read(f'requirements/{name}.txt').splitlines())
    return [line for line in lines if line and not line.startswith('#')]


def link_mim() -> None:
    """Link the entries into the source tree's package: for an editable install."""
    folder = ROOT / PACKAGE / '.mim'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for entry in MIM_ENTRIES:
        (folder / entry).symlink_to(os.path.join('..', '..', entry))


def copy_mim(build_lib: str) -> None:
    """Copy the entries into the package that is being built: for a wheel."""
    folder = Path(build_lib) / PACKAGE / '.mim'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in MIM_ENTRIES:
        if (ROOT / entry).is_dir():
            ignore = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / entry, folder / entry, ignore=ignore)
        else:
            shutil.copy2(ROOT / entry, folder / entry)


class BuildWithMim(build_py):
    """``build_py`` runs for wheels and, with ``editable_mode`` set, for ``editable_wheel``."""

    def run(self):
        super().run()
        if self.editable_mode:
            link_mim()
        else:
            copy_mim(self.build_lib)


class DevelopWithMim(develop):
    """The older way to an editable install, which does not run ``build_py``."""

    def run(self):
        link_mim()
        super().run()


setup(
    name=PACKAGE,
    version=version(),
    description='Spiking transformers in the OpenMMLab style: QKFormer and its family',
    long_description=read('README.md'),
    long_description_content_type='text/markdown',
    author='The mmqkformer contributors',
    license='Apache-2.0',
    keywords='spiking neural network, vision transformer, OpenMMLab, neuromorphic',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['kernels/*.cu', 'analysis/curves/released/*', 'report/*.html']},
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={
        'det': requirements('det'),
        'seg': requirements('seg'),
        'cuda': requirements('cuda'),
        'tests': requirements('tests'),
        'optional': requirements('optional'),
    },
    cmdclass={'build_py': BuildWithMim, 'develop': DevelopWithMim},
    zip_safe=False,
)
