#include "staging.h"

#include <algorithm>
#include <cstring>

#include "runtime.h"

namespace needle {

constexpr size_t kDriverStages = 64 << 10;  // up to here the driver itself copies the host's bytes aside at once

Staging::Piece& Staging::ready(int i) {
  Piece& piece = pieces_[i];
  if (piece.data == nullptr) {
    check(cudaHostAlloc(reinterpret_cast<void**>(&piece.data), kPieceBytes, cudaHostAllocDefault));
    pinned_ += kPieceBytes;
    check(cudaEventCreateWithFlags(&piece.done, cudaEventDisableTiming));
  } else {
    check(cudaEventSynchronize(piece.done));
  }
  return piece;
}

void Staging::upload(void* device, const void* host, size_t nbytes, cudaStream_t stream) {
  if (nbytes == 0) return;
  if (nbytes <= kDriverStages) {
    check(cudaMemcpyAsync(device, host, nbytes, cudaMemcpyHostToDevice, stream));
    return;
  }
  const std::lock_guard<std::mutex> locked(lock_);
  for (size_t begin = 0; begin < nbytes; begin += kPieceBytes) {
    const size_t n = std::min(kPieceBytes, nbytes - begin);
    Piece& piece = ready(next_);
    next_ = (next_ + 1) % kPieces;
    std::memcpy(piece.data, static_cast<const char*>(host) + begin, n);
    check(cudaMemcpyAsync(static_cast<char*>(device) + begin, piece.data, n, cudaMemcpyHostToDevice, stream));
    check(cudaEventRecord(piece.done, stream));
  }
}

void Staging::download(void* host, const void* device, size_t nbytes, cudaStream_t stream) {
  const std::lock_guard<std::mutex> locked(lock_);
  const size_t pieces = (nbytes + kPieceBytes - 1) / kPieceBytes;
  const auto bytes_of = [&](size_t i) { return std::min(kPieceBytes, nbytes - i * kPieceBytes); };
  const auto fetch = [&](size_t i) {
    Piece& piece = ready(static_cast<int>(i % kPieces));
    const char* from = static_cast<const char*>(device) + i * kPieceBytes;
    check(cudaMemcpyAsync(piece.data, from, bytes_of(i), cudaMemcpyDeviceToHost, stream));
    check(cudaEventRecord(piece.done, stream));
  };
  for (size_t i = 0; i < pieces && i < kPieces; ++i) fetch(i);
  for (size_t i = 0; i < pieces; ++i) {
    const Piece& piece = ready(static_cast<int>(i % kPieces));
    std::memcpy(static_cast<char*>(host) + i * kPieceBytes, piece.data, bytes_of(i));
    if (i + kPieces < pieces) fetch(i + kPieces);
  }
}

}  // namespace needle
