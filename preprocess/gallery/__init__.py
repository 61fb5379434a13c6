"""A generated gallery: paintings by invented artists, in the files and the table of a real collection."""

from preprocess.gallery.generate import generate

__all__ = ["generate"]
