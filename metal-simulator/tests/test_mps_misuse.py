"""What Apple's MPS would not take, or computes otherwise than one expects: the simulated one does the same."""

import shutil
import subprocess
from pathlib import Path

import pytest

MISUSE = Path(__file__).with_name("misuse")
REJECTED = {
    "row_bytes_unaligned": "rowBytes must be a multiple of the element size",
    "row_bytes_too_short": "rowBytes must be a multiple of the element size and hold a row",
    "matrix_bytes_unaligned": "matrixBytes must be a multiple of rowBytes",
    "matrix_offset_unaligned": "offset of a matrix is no multiple of its element's size",
    "matrix_beyond_buffer": "matrix is larger than its buffer",
    "matrix_offset_beyond_buffer": "matrix is larger than its buffer",
    "product_shapes": "matrix shapes do not fit",
    "product_types": "matrices have different data types",
    "product_of_integers": "matrices hold float32 or float16",
    "product_batch": "fewer matrices than the batch",
    "product_encoder_open": "encode while a Metal encoder is open",
    "product_after_commit": "command encoded after commit",
    "not_fed": "placeholder x of shape (2) is not among the feeds",
    "feed_shape": "the feed of placeholder x has shape (3) or a type unlike its (2)",
    "feed_type": "the feed of placeholder x has shape (2) or a type unlike its (2)",
    "input_shape": "input has shape (3), the graph's has (2)",
    "result_type": "result has another data type than the graph's",
    "too_few_inputs": "wrong number of inputs",
    "own_order_of_feeds": "input has shape (2, 3), the graph's has (3)",
    "graph_encoder_open": "encode while a Metal encoder is open",
    "data_beyond_buffer": "tensor data (7) is larger than its buffer",
    "array_rows_padded": "rows of an array are padded to 16 bytes",
    "operand_types": "operands have different data types",
    "operand_shapes": "shapes (2) and (3) do not broadcast",
    "select_predicate": "the predicate is not bool",
    "matmul_shapes": "matrix multiplication of (2, 3) and (2, 3)",
    "reshape": "reshape of (2, 3) to (5)",
    "axis": "axis 2 of shape (2, 3)",
    "another_graph": "a tensor belongs to another graph",
    "convolution_channels": "convolution of (1, 4, 4, 3) with (2, 2, 2, 4) in 1 groups",
    "convolution_groups": "convolution of (1, 4, 4, 4) with (2, 2, 2, 3) in 2 groups",
    "convolution_gradient": "a gradient of shape (1, 4, 4, 4) of a convolution to (1, 3, 3, 4)",
}
PRINTED = {  # and nothing is left alive
    "largest": "3 6",  # passes over NaN
    "largest_with_nan": "nan 6",
    "variance": "0.666667 0",  # biased
    "band": "1 0 0 4 5 0",
    "transposed": "1 4 2 5 3 6",
    "continued": "1 0 2",  # the given one stays, and is committed; the root is another
}


@pytest.fixture(scope="session")
def mps(tmp_path_factory):
    """Runs one case of misuse/mps.mm."""
    build = tmp_path_factory.mktemp("misuse")
    clang = shutil.which("clang++-19")
    compilers = [f"-DCMAKE_{language}_COMPILER={clang}" for language in ("CXX", "OBJCXX")]
    for command in (["cmake", "-S", str(MISUSE), "-B", str(build), *compilers], ["cmake", "--build", str(build)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(name):
        return subprocess.run([str(build / "mps"), name], capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("name", REJECTED)
def test_a_mistake_ends_the_program(name, mps):
    done = mps(name)
    assert done.returncode != 0
    assert REJECTED[name] in done.stderr


@pytest.mark.parametrize("name", PRINTED)
def test_a_right_program_runs_and_leaves_nothing(name, mps):
    done = mps(name)
    assert done.returncode == 0, done.stderr
    assert [line.strip() for line in done.stdout.splitlines()] == [PRINTED[name], "0 live"]
