"""A real Kafka and a real Redis as child processes, for development, tests and the demo."""
