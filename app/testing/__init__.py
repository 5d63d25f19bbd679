"""Fakes for tests: the hub in memory, without services and without I/O.

Each fake passes the same contract suite as the real implementation (tests/contract). Production code does not
import this package.
"""

from app.testing.bus import MemoryBus, MemoryConnection
from app.testing.groups import MemoryGroups
from app.testing.hub import MemoryHub
from app.testing.people import MemoryPeople
from app.testing.store import MemoryDelivery, MemoryStore

__all__ = [
    "MemoryBus",
    "MemoryConnection",
    "MemoryDelivery",
    "MemoryGroups",
    "MemoryHub",
    "MemoryPeople",
    "MemoryStore",
]
