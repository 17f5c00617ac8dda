"""What event streams have in common, whether they follow a job or a project."""

import asyncio
from dataclasses import dataclass, field


@dataclass
class Followed:
    """What streams follow."""

    streams: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self) -> None:
        """Wake the streams that wait."""
        self.news.set()
        self.news = asyncio.Event()
