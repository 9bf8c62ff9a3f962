// Where the elements of several views lie, for kernels that visit all of one shape.
//
// VIEWS of them are walked together, RANK axes after those that lie alike were merged; RANK 0 says that all are
// contiguous. A view of one element has strides of 0.

typedef struct {
  long size;
  long offsets[VIEWS];
  long extents[RANK ? RANK : 1];
  long strides[VIEWS][RANK ? RANK : 1];
} Places;

// The places of element i of each view.
void locate(const Places* at, long i, long* places) {
#pragma unroll
  for (int v = 0; v < VIEWS; ++v) places[v] = at->offsets[v] + (RANK ? 0 : i);
#pragma unroll
  for (int axis = RANK - 1; axis >= 0; --axis) {
    const long next = axis ? i / at->extents[axis] : 0;
    const long k = axis ? i - next * at->extents[axis] : i;
#pragma unroll
    for (int v = 0; v < VIEWS; ++v) places[v] += k * at->strides[v][axis];
    i = next;
  }
}
