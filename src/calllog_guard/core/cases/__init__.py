"""The life of a request: its case, states, dates, notices and receipts."""
