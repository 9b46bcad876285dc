"""A bundle as MONAI's own tools run it: `python -m monai.bundle run`, `verify_net_in_out`, `ckpt_export`."""
