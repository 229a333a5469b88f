"""Changes that a training image may meet, on the device: each drawn by its own chance.

All arithmetic is exact: bytes times weights in whole 256ths or 4096ths, whose sums fit in the 24 bits of an
fp32. So an image is changed to the same bytes in any batch, on any number of ranks, on any device.
"""
