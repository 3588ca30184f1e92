"""The MRI modalities of BraTS. One list for data on disk, phantoms and cases, which must not import each other."""

MODALITIES = ("t1ce", "t1", "t2", "flair")
"""T1 with contrast agent, T1, T2 and FLAIR, in the order of display and of cases."""
