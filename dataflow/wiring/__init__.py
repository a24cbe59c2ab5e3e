"""The one place where rooms are joined: a job meets an engine and a store here, and nowhere else."""
