"""One home for the limits of an API, and the gates that its callers pass: a lease in place of a call for each call."""
