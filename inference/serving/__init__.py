"""From a picture to a prediction: the classifier, its engines, its gate and its calibration."""
