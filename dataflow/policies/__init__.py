"""What to do when a call goes wrong: pure arithmetic on values, time and chance given as arguments."""
