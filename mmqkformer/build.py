"""Builds the parts of a network from configs; every error carries the path of the wrong field."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from mmengine.registry import MODELS

# What our parts' errors begin with: the name of a field, perhaps inside of others
_FIELD = re.compile(r'[A-Za-z_]\w*(\.\w+|\[[^]]*\])*=')


class ConfigError(ValueError):
    """A field of a config is wrong; the message is ``path.of.field=value: what was expected``."""


@contextmanager
def inside(key: str, value: object) -> Iterator[None]:
    """Puts ``key.`` in front of the errors about fields, and makes errors of all others.

    Args:
        key (str): Path of what is being built, e.g. ``stages[1].block[0]``.
        value (object): What the config says there, for errors that name no field of it.

    Raises:
        ConfigError: Whatever was raised inside, with its path.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        if not _FIELD.match(message):
            raise ConfigError(f'{key}={value!r}: {message}') from error
        raise ConfigError(f'{key}.{message}') from error
    except Exception as error:
        raise ConfigError(f'{key}={value!r}: {type(error).__name__}: {error}') from error


def arguments_of(factory: Callable) -> set[str]:
    """Names of the arguments that a class or function takes.

    ``**kwargs`` of a class stand for what the classes above it take; those of a function, and of
    a class that nothing above explains, for no further names. A class's ``without`` names what it
    does not take of those above.
    """
    layers = [factory]
    if inspect.isclass(factory):
        layers = [vars(c)['__init__'] for c in factory.__mro__[:-1] if '__init__' in vars(c)]
    names: set[str] = set()
    for layer in layers:
        parameters = inspect.signature(layer).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names - {'self'} - getattr(factory, 'without', frozenset())


def type_of(cfg: object) -> Callable:
    """The registered class or function that a config names.

    Raises:
        ValueError: It is no dict with a ``type``, or the type is not registered.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ValueError("expected a dict with 'type'")
    name = cfg['type']
    found = name if callable(name) else MODELS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f'type={name!r}: expected the name of a registered part')
    return found


def build(cfg: object, expected: type | None = None, **defaults) -> object:
    """Builds a registered part.

    Args:
        cfg (object): Dict of ``type`` and the arguments of that type.
        expected (type | None): Class that the part must be of. Defaults to None, any.
        **defaults: Arguments for what the config leaves open, where the type takes them.

    Returns:
        object: The part.

    Raises:
        ValueError: The type or an argument is unknown, or a value is wrong; the message begins
            with the name of the field.
    """
    factory = type_of(cfg)
    if inspect.isclass(factory) and expected is not None and not issubclass(factory, expected):
        raise ValueError(f'type={cfg["type"]!r}: expected a {expected.__name__}')
    given = {name: value for name, value in cfg.items() if name != 'type'}
    known = arguments_of(factory)
    for name, value in given.items():
        if name not in known:
            raise ValueError(
                f'{name}={value!r}: {factory.__name__} knows no such key, only {sorted(known)}'
            )
    return factory(**{k: v for k, v in defaults.items() if k in known} | given)


def build_part(key: str, cfg: object, expected: type | None = None, **defaults) -> object:
    """:func:`build`, with the path of the config in front of every error.

    Raises:
        ConfigError: Something is wrong with it.
    """
    with inside(key, cfg):
        return build(cfg, expected, **defaults)
