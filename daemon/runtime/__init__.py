"""What every process of the daemon stands on: clock, log, events, signals, schedule, and what they share."""
