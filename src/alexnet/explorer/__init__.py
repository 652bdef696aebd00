"""The explorer: a page that shows a network, its arithmetic and what it makes of a picture."""
