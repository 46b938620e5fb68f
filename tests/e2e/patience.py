"""How long a test waits for a state: a wait ends at once when the state is there, and a busy machine is no finding."""

import os

PATIENCE_S = float(os.environ.get("PATIENCE_S", "400"))
