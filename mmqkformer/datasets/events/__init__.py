"""Streams of an event camera: files, stores, frames, and a camera in software."""

from .stream import EventError, Events

__all__ = ['EventError', 'Events']
