"""A weights file behind HTTP."""
