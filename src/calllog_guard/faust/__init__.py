"""
A door for Faust programs: legs opened inside an agent, lines and call events as Records.

`opened` is for programs that pass lines on or count; `calllog_guard.Reader(follow=True)` is for a table that must stay
true (docs/how-to/use-faust.md).
"""

from calllog_guard.faust.door import legs, opened
from calllog_guard.faust.records import CallRecord, PartyRecord, PutRecord, RemoveRecord

__all__ = ["CallRecord", "PartyRecord", "PutRecord", "RemoveRecord", "legs", "opened"]
