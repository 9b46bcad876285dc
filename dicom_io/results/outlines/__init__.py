"""What is made of the structures that a model outlined: the segmentation object, its measurements, and words."""
