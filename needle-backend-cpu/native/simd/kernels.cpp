// One level's table, filled by the files of this folder.
#include "simd/kernels.h"

NEEDLE_BEGIN

void fill_kernels(Kernels& table) {
  fill_convert(table);
  fill_unary(table);
  fill_binary(table);
  fill_tiles(table);
  fill_reduce(table);
  fill_scan(table);
  fill_rows(table);
  fill_gemm(table);
  fill_conv(table);
  fill_depthwise(table);
  fill_norm(table);
  fill_optim(table);
  fill_pool(table);
  fill_random(table);
  fill_stream(table);
  fill_transpose(table);
}

NEEDLE_END
