"""Files on this machine, and files of brokers."""
