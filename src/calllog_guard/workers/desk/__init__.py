"""From a signed request to decisions, answers and receipts."""
