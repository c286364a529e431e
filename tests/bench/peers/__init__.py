"""Other programs that are timed beside this one."""
