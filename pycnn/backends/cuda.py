"""CUDA's switches, which can be set and read, and change nothing: float32 stays float32."""


class _MatrixProducts:
    allow_tf32: bool = False


matmul = _MatrixProducts()


def is_built() -> bool:
    """False."""
    return False
