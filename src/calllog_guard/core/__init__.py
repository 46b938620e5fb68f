"""Pure: values in, values out; no I/O, clock, log or environment."""
