"""Who opened what and was shown which case, as sums in a console's memory."""
