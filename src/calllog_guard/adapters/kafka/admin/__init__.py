"""Kafka's administration through kafka-python."""
