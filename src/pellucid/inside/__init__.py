"""What a program imports into itself, and what runs in another's process: it sees from inside what the other rooms see from outside."""
