"""Photos to aligned faces: which photos there are, whose face is taken, and what became of each."""
