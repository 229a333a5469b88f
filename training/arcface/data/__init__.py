"""Photographs to batches: `listing` finds them, `decode` reads one, `store` holds all, `order` mixes them."""
