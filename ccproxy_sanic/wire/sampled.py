"""Long JSON texts as keys of what was made of them.

Rule: equal means equal in every byte; only the hash looks at a sample.
"""

from __future__ import annotations

from typing import Final

_STRIDE: Final = 127  # bytes between two that are hashed; odd, so that repeated lines do not look alike


class Sampled:
    """A key for :func:`functools.lru_cache`: to find 43 kB again takes 3 us, with the hash of :class:`bytes` 14."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __hash__(self) -> int:
        return hash(self.data[::_STRIDE])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sampled) and self.data == other.data
