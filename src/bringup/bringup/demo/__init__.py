"""The demo: a story over the real nodes, watched from outside, judged, and reported."""
