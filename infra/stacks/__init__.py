"""The stacks, one a file. What each may touch is granted where it is wired."""
