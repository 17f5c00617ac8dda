"""Fits heads on features of a frozen backbone: the features, their cache, solving, calibration and evaluation."""
