"""What each role does: it asks the core, calls ports, settles. A role never imports another role."""
