"""What every process of the daemon uses: clock, log, events, signals, schedule, and what the processes share."""
