"""What is counted: statistics that merge over partitions."""
