"""The shell: ask the core, call ports, settle."""
