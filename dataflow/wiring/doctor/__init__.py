"""What a person needs to know before a run: each check gives findings, and none of them changes anything or costs."""
