// dst[i] = f(a[i]) for the function that -D KIND names by its number in kinds.py. One element a work-item.

typedef TYPE(A) T;

TYPE(DST) apply(T x) {
#if IS_FLOAT(A)
  switch (KIND) {
    case 0: return -x;
    case 1: return fabs(x);
    case 2: return x * x;
    case 3: return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x;
    case 4: return x < 0 ? 0 : x;
    case 5: return exp(x);
    case 6: return expm1(x);
    case 7: return log(x);
    case 8: return log1p(x);
    case 9: return sqrt(x);
    case 10: return 1 / sqrt(x);
    case 11: return 1 / x;
    case 12: return sin(x);
    case 13: return cos(x);
    case 14: return tanh(x);
    case 15: {
      const T e = exp(-fabs(x));
      return x < 0 ? e / (1 + e) : 1 / (1 + e);
    }
    case 16: return erf(x);
    case 17: return floor(x);
    case 18: return ceil(x);
    case 19: return rint(x);
    case 20: return trunc(x);
    case 23: return isnan(x);
    case 24: return isinf(x);
    case 25: return isfinite(x);
    case 26: return (x > 0 ? x : x != x ? x : 0) + log1p(exp(-fabs(x)));
  }
#else
  switch (KIND) {
    case 0: return (T)(-(WRAP(A))x);
    case 1: return x < 0 ? (T)(-(WRAP(A))x) : x;
    case 2: return (T)((WRAP(A))x * (WRAP(A))x);
    case 3: return (x > 0) - (x < 0);
    case 4: return x < 0 ? 0 : x;
    case 21: return x == 0;
    case 22: return A == 0 ? x == 0 : ~x;  // of a bool, `~` is `not`
  }
#endif
  return 0;
}

kernel void unary(global uchar* dst, global const uchar* a, const Places at) {
  const long i = get_global_id(0);
  if (i >= at.size) return;
  long places[VIEWS];
  locate(&at, i, places);
  STORE(DST, dst, places[0], apply(LOAD(A, a, places[1])));
}
