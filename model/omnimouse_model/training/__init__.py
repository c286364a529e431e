"""What trainings of all families share: loop, resume, ranks, log, sessions."""
