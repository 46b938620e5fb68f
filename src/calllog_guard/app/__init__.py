"""The composition root: what every process shares, the roles put together, and the reader for programs."""
