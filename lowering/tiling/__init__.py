"""From fusion to tile: schedules, and the programs that follow them."""
