"""Builds the parts of a network from configs; every error carries the path of the wrong field."""

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from mmengine.model import BaseInit, PretrainedInit, initialize
from mmengine.registry import MODELS, WEIGHT_INITIALIZERS
from torch import nn

from .checks import check_dict, check_list, check_str

# What our parts' errors begin with: the name of a field, perhaps inside of others
_FIELD = re.compile(r'[A-Za-z_]\w*(\.\w+|\[[^]]*\])*(=| lacks \[| has unknown keys \[)')
# Characters of a config that an error about the whole of it shows
_SHOWN = 400


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
            raise ConfigError(f'{key}={_shown(value)}: {message}') from error
        raise ConfigError(f'{key}.{message}') from error
    except Exception as error:
        raise ConfigError(f'{key}={_shown(value)}: {type(error).__name__}: {error}') from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'


def parameters_of(factory: Callable) -> dict[str, inspect.Parameter]:
    """The arguments that a class or function takes, by name.

    ``**kwargs`` of a class stand for what the classes above it take; those of a function, and of
    a class that nothing above explains, for no further names. A class's ``without`` names what it
    does not take of those above.
    """
    layers = [factory]
    if inspect.isclass(factory):
        layers = [vars(c)['__init__'] for c in factory.__mro__[:-1] if '__init__' in vars(c)]
    found: dict[str, inspect.Parameter] = {}
    for layer in layers:
        parameters = inspect.signature(layer).parameters.values()
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                found.setdefault(p.name, p)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    without = {'self', *getattr(factory, 'without', ())}
    return {name: p for name, p in found.items() if name not in without}


def arguments_of(factory: Callable) -> set[str]:
    """Names of the arguments that a class or function takes, see :func:`parameters_of`."""
    return set(parameters_of(factory))


def check_arguments(
    factory: Callable, given: Mapping[str, object], supplied: Collection[str] = ()
) -> None:
    """Refuses a call that Python would refuse, by the names of the arguments.

    Args:
        factory (Callable): Class or function that is to be called.
        given (Mapping[str, object]): Arguments that a config gives.
        supplied (Collection[str]): Names of arguments that come from elsewhere.

    Raises:
        ValueError: An argument is unknown or missing.
    """
    parameters = parameters_of(factory)
    for name, value in given.items():
        if name not in parameters:
            raise ValueError(
                f'{name}={value!r}: {factory.__name__} knows no such key, only {sorted(parameters)}'
            )
    needed = {name for name, p in parameters.items() if p.default is p.empty}
    if missing := sorted(needed - {*given, *supplied}):
        raise ValueError(f'expected {missing} too')


def check_init_cfg(init_cfg: dict | list[dict] | None, module: nn.Module) -> None:
    """Refuses an initialisation that mmengine would fail on, or ignore, once it initialises.

    Args:
        init_cfg (dict | list[dict] | None): The config.
        module (nn.Module): What it is of.

    Raises:
        ValueError: A type, key or value is wrong, or no layer is meant; the message begins with
            the name of the field.
    """
    if init_cfg is None or isinstance(init_cfg, Mapping):
        cfgs = {'init_cfg': init_cfg} if init_cfg is not None else {}
    else:
        listed = check_list('init_cfg', init_cfg, check_dict)
        cfgs = {f'init_cfg[{i}]': cfg for i, cfg in enumerate(listed)}
    for path, cfg in cfgs.items():
        with inside(path, cfg):
            _check_initialiser(cfg, module)


def _check_initialiser(cfg: Mapping, module: nn.Module) -> None:
    name = cfg.get('type')
    initialiser = WEIGHT_INITIALIZERS.get(name) if isinstance(name, str) else name
    if not inspect.isclass(initialiser):
        raise ValueError(
            f'type={name!r}: expected one of {sorted(WEIGHT_INITIALIZERS.module_dict)}'
        )
    arguments = {k: v for k, v in cfg.items() if k not in ('type', 'override')}
    check_arguments(initialiser, arguments)
    if initialiser is PretrainedInit:
        check_str('checkpoint', cfg['checkpoint'])
    if not issubclass(initialiser, BaseInit):
        initialiser(**arguments)
        return
    layer, override = cfg.get('layer') or [], cfg.get('override') or []
    if not layer and not override:
        raise ValueError("expected ['layer'] too")
    names = {c.__name__ for m in module.modules() for c in (type(m), *type(m).__bases__)}
    if layer and not names & {*([layer] if isinstance(layer, str) else layer)}:
        raise ValueError(f'layer={layer!r}: expected classes of its layers, {sorted(names)}')
    # The real layers keep their random numbers
    twin = nn.Sequential()
    with torch.random.fork_rng(devices=[]), torch.device('cpu'):
        twin.extend([nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 2)])
        for part in [override] if isinstance(override, Mapping) else override:
            if not hasattr(module, part['name']):
                raise ValueError(f'override={part!r}: expected the name of one of its modules')
            twin.add_module(part['name'], nn.Conv2d(2, 2, 1))
        initialize(twin, dict(cfg))
    if not all(weight.isfinite().all() for weight in twin.parameters()):
        raise ValueError('expected values that give finite weights')


def config_errors(path: str) -> Callable[[Callable], Callable]:
    """Decorates the ``__init__`` of what mmengine builds, so that a config gets our errors.

    Unknown and missing arguments are refused by name, and whatever is wrong is one error with its
    path. A class that extends such a one decorates its own ``__init__``.

    Args:
        path (str): Name of the part in the config of a model, in front of every error.
    """

    def decorate(init: Callable) -> Callable:
        @wraps(init)
        def checked(self: object, *args, **kwargs) -> None:
            cls = type(self)
            if cls.__init__ is not checked:
                # That of the class below has checked
                return init(self, *args, **kwargs)
            given = {**dict(zip(parameters_of(cls), args)), **kwargs}
            with inside(path, given):
                check_arguments(cls, given)
                init(self, *args, **kwargs)
                check_init_cfg(given.get('init_cfg'), self)

        return checked

    return decorate


def type_of(cfg: object) -> Callable:
    """The registered class or function that a config names.

    Raises:
        ValueError: It is no dict with a ``type``, or the type is not registered.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ValueError("expected a dict with 'type'")
    name = cfg['type']
    found = name if callable(name) else MODELS.get(name) if name and isinstance(name, str) else None
    if found is None:
        raise ValueError(f'type={name!r}: expected the name of a registered part')
    return found


def build(
    cfg: object,
    expected: type | None = None,
    fixed: Mapping[str, object] | None = None,
    **defaults,
) -> Any:
    """Builds a registered part.

    Args:
        cfg (object): Dict of ``type`` and the arguments of that type.
        expected (type | None): Class that the part must be of. Defaults to None, any.
        fixed (Mapping[str, object] | None): Arguments that are not the config's to give, where the
            type takes them. Defaults to None.
        **defaults: Arguments for what the config leaves open, where the type takes them.

    Returns:
        Any: The part.

    Raises:
        ValueError: The type or an argument is unknown, an argument is missing or fixed, or a value
            is wrong; the message begins with the name of the field.
    """
    factory = type_of(cfg)
    if inspect.isclass(factory) and expected is not None and not issubclass(factory, expected):
        raise ValueError(f'type={cfg["type"]!r}: expected a {expected.__name__}')
    given = {name: value for name, value in cfg.items() if name != 'type'}
    fixed = fixed or {}
    for name in fixed:
        if name in given:
            raise ValueError(f'{name}={given[name]!r}: expected none, as the graph gives it')
    known = arguments_of(factory)
    others = {name: value for name, value in {**defaults, **fixed}.items() if name in known}
    check_arguments(factory, given, others)
    part = factory(**{**others, **given})
    if isinstance(part, nn.Module):
        check_init_cfg(given.get('init_cfg'), part)
    return part


def build_part(
    key: str,
    cfg: object,
    expected: type | None = None,
    fixed: Mapping[str, object] | None = None,
    **defaults,
) -> Any:
    """:func:`build`, with the path of the config in front of every error.

    Raises:
        ConfigError: Something is wrong with it.
    """
    with inside(key, cfg):
        return build(cfg, expected, fixed, **defaults)
