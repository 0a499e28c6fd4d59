"""Names of architectures, and what a config makes of them."""

from collections.abc import Callable, Mapping
from functools import partial

from ...build import ConfigError, inside, parameters_of

# Blocks of a stage; deeper than any network, what is above is a slip that would be built for hours
MAX_DEPTH = 1000

Architecture = Callable[..., list[dict]]
ARCHITECTURES: dict[str, Architecture] = {}
"""Functions that return stages, by the name that ``arch`` takes."""


def register_arch(name: str, **variants: dict) -> Callable[[Architecture], Architecture]:
    """Registers a function under a family's name, and the family's sizes with their arguments.

    Args:
        name (str): Name of the family, for ``arch=dict(base=name, ...)`` with all arguments.
        **variants (dict): Arguments of each size, by its name.
    """

    def add(function: Architecture) -> Architecture:
        ARCHITECTURES[name] = function
        for variant, arguments in variants.items():
            ARCHITECTURES[variant] = partial(function, **arguments)
        return function

    return add


def expand_arch(arch: str | Mapping, default: str | None = None) -> list[dict]:
    """Expands an architecture to the list of stages that it is a name for.

    Args:
        arch (str | Mapping): A name of :data:`ARCHITECTURES`, or a dict of ``base``, such a name,
            and arguments of its function that are to be others.
        default (str | None): Base of a dict that names none. Defaults to None.

    Returns:
        list[dict]: Stages, see :class:`~mmqkformer.models.SpikingBackbone`.

    Raises:
        ConfigError: A name or key is unknown, a key is missing, or a value is wrong.
    """
    arch = dict(base=arch) if isinstance(arch, str) else arch
    if not isinstance(arch, Mapping) or not isinstance(arch.get('base', default), str):
        raise ConfigError(
            f"arch={arch!r}: expected a name, of {sorted(ARCHITECTURES)}, or a dict with 'base'"
        )
    arguments = {'base': default, **arch}
    base = arguments.pop('base')
    if base not in ARCHITECTURES:
        raise ConfigError(f'arch={base!r} is unknown: expected one of {sorted(ARCHITECTURES)}')
    function = ARCHITECTURES[base]
    parameters = parameters_of(function)
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise ConfigError(f'arch has unknown keys {unknown}: expected some of {sorted(parameters)}')
    needed = [name for name, p in parameters.items() if p.default is p.empty]
    missing = [name for name in needed if name not in arguments]
    if missing:
        raise ConfigError(f'arch lacks {missing}: give them, or start from a size in arch.base')
    with inside('arch', arch):
        return function(**arguments)


def check_lengths(**lists: object) -> int:
    """The common length of lists with one entry for each stage.

    Raises:
        ValueError: One is no list, they are empty, or they differ.
    """
    for key, value in lists.items():
        if not isinstance(value, (list, tuple)):
            raise ValueError(f'{key}={value!r}: expected a list, one entry for each stage')
    (first, values), *others = lists.items()
    if not values:
        raise ValueError(f'{first}={values!r}: expected at least one stage')
    for key, value in others:
        if len(value) != len(values):
            raise ValueError(
                f'{key}={value!r}: expected {len(values)} entries, one for each of '
                f'{first}={values!r}'
            )
    return len(values)
