"""The bricks: one concept a file, the equation in the docstring, its ONNX nodes beside its torch code."""
