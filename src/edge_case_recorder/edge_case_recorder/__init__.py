"""A window before and after every edge case, as a bag, once, in the bucket."""
