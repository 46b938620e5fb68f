"""From a signed request to its case, decisions and receipts."""
