"""Stream workers that make a call log honour its privacy policy, provably."""

__version__ = "0.1.0"
