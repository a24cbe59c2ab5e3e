"""What the job `lead_intelligence` is made of: the shapes of what it reads and gives, and its scores."""
