"""How fast, and how much: one tick and one publication at scale, beside the straightforward way."""
