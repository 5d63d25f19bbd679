"""What everything else runs on: logging, metrics, tasks, clocks, Redis connections, retries, limits."""
