"""The documentation is true: its code runs, its links and configs exist, its counts are exact."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmpretrain.registry import MODELS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md'), *(ROOT / 'configs').rglob('*.md')]
)
BLOCKS = [
    (f'{page.relative_to(ROOT)}:{i}', code)
    for page in PAGES
    for i, code in enumerate(re.findall(r'^```python\n(.*?)^```', page.read_text(), re.M | re.S))
    if not code.startswith('# fragment')
]


@pytest.mark.parametrize('code', [c for _, c in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_code_runs(code, monkeypatch):
    monkeypatch.chdir(ROOT)
    # As a user's module: what a page registers may be registered again by its next run
    exec(compile(code.replace('register_module()', 'register_module(force=True)'), 'page', 'exec'),
         {'__name__': 'page'})  # fmt: skip


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_exist(page):
    text = page.read_text()
    for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', text):
        if '://' not in target:
            assert (page.parent / target).exists(), target
    for path in re.findall(r'\b(?:configs|tools|tests|docs)/[\w./-]+\.(?:py|sh|md|yml)\b', text):
        assert (ROOT / path).exists(), path


def test_there_is_something_to_check():
    assert len(PAGES) > 10
    assert len(BLOCKS) > 3


def test_the_model_table_is_exact():
    folder, found = None, set()
    for line in (ROOT / 'README.md').read_text().splitlines():
        if match := re.match(r'\| config \(`(configs/\w+)/`\)', line):
            folder = match[1]
        elif match := re.match(r'\| `([\w-]+)`', line):
            config, count = match[1], int(line.split('|')[4].replace(',', ''))
            model = Config.fromfile(ROOT / folder / f'{config}.py').model
            assert sum(p.numel() for p in MODELS.build(model).parameters()) == count, config
            assert str(model.backbone.time_steps) == line.split('|')[3].strip()
            found.add(config)
    configs = {
        path.stem for family in ('qkformer', 'spikformer')
        for path in (ROOT / 'configs' / family).glob('*.py')
    }  # fmt: skip
    assert found == configs
