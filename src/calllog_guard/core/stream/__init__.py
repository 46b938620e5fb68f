"""Records as they come: arrivals, units, where reading goes on, and what proves who wrote them."""
