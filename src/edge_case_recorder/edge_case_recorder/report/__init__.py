"""A case as a page: one HTML file with its pictures inside, from one bag of any robot."""
