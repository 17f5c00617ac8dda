"""What jobs leave behind when they have ended: totals of them, and for how long their events are kept."""
