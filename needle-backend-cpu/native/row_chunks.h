// How rows are cut when they are reduced: results depend on the cuts, so that all who reduce rows cut them alike.
#ifndef NEEDLE_CPU_ROW_CHUNKS_H
#define NEEDLE_CPU_ROW_CHUNKS_H

#include <needle/compiler.h>

namespace needle {

constexpr int64_t kReduceGrain = 32768;  // elements that are worth another thread
constexpr int64_t kRowChunk = 65536;     // elements of a row that one task takes, of rows twice as long and longer
constexpr int64_t kPairwiseRow = 2048;   // longer rows are halved: the rounding error grows with log n, not n
constexpr int64_t kRowsTogether = 64;    // short rows are folded in groups, which begin at multiples of this

// The first part of a row that is halved.
static constexpr int64_t first_half(int64_t n) { return (n / 2 + kPairwiseRow - 1) / kPairwiseRow * kPairwiseRow; }

}  // namespace needle

#endif  // NEEDLE_CPU_ROW_CHUNKS_H
