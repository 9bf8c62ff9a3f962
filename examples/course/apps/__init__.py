"""The programs of CMU 10-714's homework, for a Needle that is imported with NEEDLE_COURSE=1."""
