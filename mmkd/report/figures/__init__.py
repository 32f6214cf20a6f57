"""From run records to figures: each kind is a file with what its figure file says, its data and its drawing."""
