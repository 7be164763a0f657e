"""The llfuse entry point: everything that talks to the kernel."""
