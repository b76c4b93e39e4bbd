"""Imports by name what is needed late or seldom, so that a start does not wait for it."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(module: str, name: str) -> Any:
    """Return what a module has under a name; the module is imported by the first call.

    Args:
        module: its full name.
        name: a function or a class in it.
    """
    return getattr(import_module(module), name)


def load_module(name: str) -> Any:
    """Return a module that need not be there, and whose types are not known.

    Raises:
        ImportError: it is not there, or can't be used.
    """
    return import_module(name)
