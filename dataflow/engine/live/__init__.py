"""What is seen of a run while it goes on: from workers and driver to the scheduler, its pages and its metrics."""
