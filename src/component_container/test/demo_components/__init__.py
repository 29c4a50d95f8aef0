"""Components for the tests, installed as a distribution of their own by conftest.py."""
