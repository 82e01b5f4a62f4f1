"""What happened is told to others: once, signed, tried again, in the words of Slack and Teams."""
