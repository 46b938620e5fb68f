"""`python -m calllog_guard` is the command line."""

from calllog_guard.cli import program

if __name__ == "__main__":
    program()
