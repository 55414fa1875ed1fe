"""What a live screen shows, before anybody draws it: rows, states in words, groups of equal stacks. The page and a terminal draw the same values."""
