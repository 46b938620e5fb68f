"""`python -m calllog_guard.cli` is the command line, as `python -m calllog_guard` is."""

from calllog_guard.cli import program

if __name__ == "__main__":
    program()
