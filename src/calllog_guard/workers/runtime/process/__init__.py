"""A process as others see it: alive, ready, and able to read every stored form."""
