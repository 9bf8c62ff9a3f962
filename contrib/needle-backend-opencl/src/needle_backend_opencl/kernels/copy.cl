// copy: dst[i] = src[i], bits and all.   cast: the same in another type.   where: dst[i] = c[i] ? a[i] : b[i].

#if VIEWS == 2

#if IS_FLOAT(A) && IS_FLOAT(DST) && A == 8

// A double as the float that rounds to a half as the double itself would: of what is cut off, a last bit tells.
float sticky(double x) {
  const float near = convert_float_rtz(x);
  return near == x || isnan(x) || isinf(x) ? near : as_float(as_uint(near) | 1);
}

TYPE(DST) converted(double x) { return DST == 5 || DST == 6 ? sticky(x) : x; }

#else

TYPE(DST) converted(TYPE(A) x) { return DST == 0 ? x != 0 : (TYPE(DST))x; }

#endif

kernel void cast(global uchar* dst, global const uchar* src, const Places at) {
  const long i = get_global_id(0);
  if (i >= at.size) return;
  long places[VIEWS];
  locate(&at, i, places);
  STORE(DST, dst, places[0], converted(LOAD(A, src, places[1])));
}

#else

kernel void where(global uchar* dst, global const uchar* condition, global const uchar* a, global const uchar* b,
                  const Places at) {
  const long i = get_global_id(0);
  if (i >= at.size) return;
  long places[VIEWS];
  locate(&at, i, places);
  STORE(A, dst, places[0], condition[places[1]] ? LOAD(A, a, places[2]) : LOAD(A, b, places[3]));
}

#endif
