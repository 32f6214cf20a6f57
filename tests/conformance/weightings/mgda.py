"""The shortest convex combination of gradients (1810.04650, eq. 3)."""

HEADS = "own"
OPPOSES_NONE = True  # the projection of 0 onto the gradients' hull has an acute angle to all of it
