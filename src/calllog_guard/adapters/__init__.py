"""The world behind the ports: a folder for each client library, which is imported nowhere else."""
