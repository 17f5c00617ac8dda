"""A fleet of workers simulated: the service's own statements under a clock that jumps from event to event."""
