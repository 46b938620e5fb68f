"""Answers to people: what is kept about them and why, as data that pages and tables are views of."""
