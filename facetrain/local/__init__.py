"""AWS on one machine: the real stacks and the real Lambda, with no account."""
