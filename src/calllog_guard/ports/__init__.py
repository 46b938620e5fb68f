"""
What the workers need of the world, each as small as its use.

Each port has a contract suite in `tests/contract/`, run on the shipped fake and on the real thing.
"""
