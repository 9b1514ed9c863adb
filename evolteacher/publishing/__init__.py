"""What leaves this machine: under which licence, which files, and to which hub."""
