"""Imports between the packages go down only: there is no circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'mmqkformer'


def imported(path):
    """The parts of the package that a file imports, wherever in it."""
    folder = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = folder[: len(folder) + 1 - node.level]
            names = (node.module or '').split('.') if node.module else []
            target = (*above, *names) or tuple(alias.name for alias in node.names)
            yield target[0]


def test_imports_go_down_only():
    graph = {}
    for path in PACKAGE.rglob('*.py'):
        part = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
        if part != '__init__' and '.mim' not in path.parts:
            graph.setdefault(part, set()).update(set(imported(path)) - {part})
    assert {'layers', 'neurons'} <= graph['models']
    order = list(TopologicalSorter(graph).static_order())
    assert order.index('kernels') < order.index('neurons') < order.index('layers')
    assert order.index('analysis') < order.index('deploy') < order.index('report')
