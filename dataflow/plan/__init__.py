"""What will be done: pure, so a plan can be printed, compared and stored before anything runs."""
