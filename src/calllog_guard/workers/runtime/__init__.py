"""What every worker runs on: delivery, schedules, clocks, the policy's updates."""
