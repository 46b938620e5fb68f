"""The open cases of a tenant: kept, judged by dates, and acted upon."""
