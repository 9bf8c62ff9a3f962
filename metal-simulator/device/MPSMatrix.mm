// MPS matrices and their product, on the CPU.
#include <algorithm>

#include "SimMPS.h"

@implementation MPSKernel
SIM_LIVE
- (id<MTLDevice>)device {
  return device_;
}
- (void)dealloc {
  --metalsim_live;
  [device_ release];
  [super dealloc];
}
@end

@implementation MPSMatrixDescriptor
SIM_LIVE
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)rows
                                 columns:(NSUInteger)columns
                                rowBytes:(NSUInteger)rowBytes
                                dataType:(MPSDataType)type {
  return [self matrixDescriptorWithRows:rows
                                columns:columns
                               matrices:1
                               rowBytes:rowBytes
                            matrixBytes:rows * rowBytes
                               dataType:type];
}
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)rows
                                 columns:(NSUInteger)columns
                                matrices:(NSUInteger)matrices
                                rowBytes:(NSUInteger)rowBytes
                             matrixBytes:(NSUInteger)matrixBytes
                                dataType:(MPSDataType)type {
  if (!rows || !columns || !matrices) mps_stop("a matrix has no elements");
  if (rowBytes % mps_size(type) || rowBytes < columns * mps_size(type)) {
    mps_stop("rowBytes must be a multiple of the element size and hold a row");
  }
  if (matrices > 1 && (matrixBytes % rowBytes || matrixBytes < rows * rowBytes)) {
    mps_stop("matrixBytes must be a multiple of rowBytes and hold a matrix");
  }
  MPSMatrixDescriptor* made = [[self new] autorelease];
  made->rows_ = rows;
  made->columns_ = columns;
  made->matrices_ = matrices;
  made->rowBytes_ = rowBytes;
  made->matrixBytes_ = matrixBytes;
  made->type_ = type;
  return made;
}
- (void)dealloc {
  --metalsim_live;
  [super dealloc];
}
@end

@implementation MPSMatrix
SIM_LIVE
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer descriptor:(MPSMatrixDescriptor*)descriptor {
  return [self initWithBuffer:buffer offset:0 descriptor:descriptor];
}
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer offset:(NSUInteger)offset descriptor:(MPSMatrixDescriptor*)d {
  self = [self init];
  if (offset % mps_size(d->type_)) mps_stop("the offset of a matrix is no multiple of its element's size");
  const size_t last = (d->matrices_ - 1) * d->matrixBytes_ + (d->rows_ - 1) * d->rowBytes_;
  if (offset + last + d->columns_ * mps_size(d->type_) > buffer.length) mps_stop("matrix is larger than its buffer");
  buffer_ = [buffer retain];
  descriptor_ = [d retain];
  offset_ = offset;
  return self;
}
- (void)dealloc {
  --metalsim_live;
  [buffer_ release];
  [descriptor_ release];
  [super dealloc];
}
@end

namespace {

char* element(MPSMatrix* matrix, size_t batch, size_t row, size_t column) {
  const MPSMatrixDescriptor* d = matrix->descriptor_;
  char* first = ((SimBuffer*)matrix->buffer_)->base + matrix->offset_;
  return first + batch * d->matrixBytes_ + row * d->rowBytes_ + column * mps_size(d->type_);
}

bool holds(MPSMatrix* matrix, BOOL transposed, NSUInteger rows, NSUInteger columns) {
  const MPSMatrixDescriptor* d = matrix->descriptor_;
  return (transposed ? d->columns_ : d->rows_) >= rows && (transposed ? d->rows_ : d->columns_) >= columns;
}

}  // namespace

@implementation MPSMatrixMultiplication
- (NSUInteger)batchStart {
  return batchStart_;
}
- (void)setBatchStart:(NSUInteger)start {
  batchStart_ = start;
}
- (NSUInteger)batchSize {
  return batchSize_;
}
- (void)setBatchSize:(NSUInteger)size {
  batchSize_ = size;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 transposeLeft:(BOOL)transposeLeft
                transposeRight:(BOOL)transposeRight
                    resultRows:(NSUInteger)rows
                 resultColumns:(NSUInteger)columns
               interiorColumns:(NSUInteger)interior
                         alpha:(double)alpha
                          beta:(double)beta {
  self = [self init];
  device_ = [device retain];
  transposeLeft_ = transposeLeft;
  transposeRight_ = transposeRight;
  rows_ = rows;
  columns_ = columns;
  interior_ = interior;
  alpha_ = alpha;
  beta_ = beta;
  batchSize_ = NSUIntegerMax;  // all matrices
  return self;
}
- (void)checkLeft:(MPSMatrix*)left right:(MPSMatrix*)right result:(MPSMatrix*)result {
  if (!holds(left, transposeLeft_, rows_, interior_) || !holds(right, transposeRight_, interior_, columns_) ||
      !holds(result, NO, rows_, columns_)) {
    mps_stop("matrix shapes do not fit the multiplication");
  }
  for (MPSMatrix* matrix : {left, right, result}) {
    const MPSMatrixDescriptor* d = matrix->descriptor_;
    if (d->type_ != MPSDataTypeFloat32 && d->type_ != MPSDataTypeFloat16) mps_stop("matrices hold float32 or float16");
    if (d->type_ != result->descriptor_->type_) mps_stop("matrices have different data types");
    const NSUInteger wanted = batchSize_ == NSUIntegerMax ? result->descriptor_->matrices_ : batchStart_ + batchSize_;
    if (d->matrices_ < wanted) mps_stop("a matrix has fewer matrices than the batch");
  }
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commands
                   leftMatrix:(MPSMatrix*)left
                  rightMatrix:(MPSMatrix*)right
                 resultMatrix:(MPSMatrix*)result {
  SimCommandBuffer* open = mps_open(commands);
  [self checkLeft:left right:right result:result];
  const NSUInteger rows = rows_, columns = columns_, interior = interior_, start = batchStart_;
  const NSUInteger end = batchSize_ == NSUIntegerMax ? result->descriptor_->matrices_ : batchStart_ + batchSize_;
  const BOOL transposeLeft = transposeLeft_, transposeRight = transposeRight_;
  const double alpha = alpha_, beta = beta_;
  const MPSDataType type = result->descriptor_->type_;
  for (id matrix : {(id)left, (id)right}) mps_keep(open, matrix);
  [open add:[=](std::string&) {
    for (size_t b = start; b < end; ++b) {
      for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < columns; ++j) {
          double sum = 0;
          for (size_t k = 0; k < interior; ++k) {
            sum += mps_load(transposeLeft ? element(left, b, k, i) : element(left, b, i, k), type) *
                   mps_load(transposeRight ? element(right, b, j, k) : element(right, b, k, j), type);
          }
          char* to = element(result, b, i, j);
          mps_store(to, type, alpha * sum + (beta != 0 ? beta * mps_load(to, type) : 0));
        }
      }
    }
    return true;
  }
      retaining:result];
}
@end
