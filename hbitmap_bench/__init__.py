"""What measures and judges: the command ``hbitmap-bench`` and the parts that it is made of."""

__version__ = "0.1.0"
