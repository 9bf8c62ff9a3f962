// What every kernel file begins with: how each element type lies in memory, and the type it is computed in.
//
// A program is built for certain types: -D A=7 -D DST=0 give the numbers of DType.code. OpenCL C has no templates, so
// types and functions bear the number in their names, and LOAD(A, p, i) finds load_7. bool and small ints are computed
// in int and wrap around when stored; halves are computed in float.
#pragma OPENCL FP_CONTRACT OFF

typedef int type_0;     // bool, stored as 0 or 1
typedef int type_1;     // uint8
typedef int type_2;     // int8
typedef int type_3;     // int32
typedef long type_4;    // int64
typedef float type_5;   // float16
typedef float type_6;   // bfloat16
typedef float type_7;   // float32
typedef int type_9;     // two bytes of any meaning, for copies

// The type in which additions and products wrap around rather than overflow.
typedef uint wrap_0;
typedef uint wrap_1;
typedef uint wrap_2;
typedef uint wrap_3;
typedef ulong wrap_4;
typedef float wrap_5;
typedef float wrap_6;
typedef float wrap_7;

int load_0(global const uchar* p, long i) { return p[i]; }
int load_1(global const uchar* p, long i) { return p[i]; }
int load_2(global const uchar* p, long i) { return ((global const char*)p)[i]; }
int load_3(global const uchar* p, long i) { return ((global const int*)p)[i]; }
long load_4(global const uchar* p, long i) { return ((global const long*)p)[i]; }
float load_5(global const uchar* p, long i) { return vload_half(i, (global const half*)p); }
float load_6(global const uchar* p, long i) { return as_float((uint)((global const ushort*)p)[i] << 16); }
float load_7(global const uchar* p, long i) { return ((global const float*)p)[i]; }
int load_9(global const uchar* p, long i) { return ((global const ushort*)p)[i]; }

// The upper half of a float, rounded to nearest even.
ushort bfloat16_of(float x) {
  const uint bits = as_uint(x);
  return isnan(x) ? 0x7FC0 : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

void store_0(global uchar* p, long i, int x) { p[i] = x != 0; }
void store_1(global uchar* p, long i, int x) { p[i] = (uchar)x; }
void store_2(global uchar* p, long i, int x) { ((global char*)p)[i] = (char)x; }
void store_3(global uchar* p, long i, int x) { ((global int*)p)[i] = x; }
void store_4(global uchar* p, long i, long x) { ((global long*)p)[i] = x; }
void store_5(global uchar* p, long i, float x) { vstore_half_rte(x, i, (global half*)p); }
void store_6(global uchar* p, long i, float x) { ((global ushort*)p)[i] = bfloat16_of(x); }
void store_7(global uchar* p, long i, float x) { ((global float*)p)[i] = x; }
void store_9(global uchar* p, long i, int x) { ((global ushort*)p)[i] = (ushort)x; }

#ifdef HAS_DOUBLE
typedef double type_8;
typedef double wrap_8;
double load_8(global const uchar* p, long i) { return ((global const double*)p)[i]; }
void store_8(global uchar* p, long i, double x) { ((global double*)p)[i] = x; }
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TYPE(CODE) JOIN(type_, CODE)
#define WRAP(CODE) JOIN(wrap_, CODE)
#define LOAD(CODE, p, i) JOIN(load_, CODE)(p, i)
#define STORE(CODE, p, i, x) JOIN(store_, CODE)(p, i, x)
#define IS_FLOAT(CODE) ((CODE) >= 5 && (CODE) <= 8)
