// dst[i] = f(a[i], b[i]) for the function that -D KIND names by its number in kinds.py. One element a work-item.

typedef TYPE(A) T;
typedef WRAP(A) W;

#if IS_FLOAT(A)

// The remainder has the divisor's sign, as in Python.
T remainder_of(T a, T b) {
  const T r = fmod(a, b);
  if (r != 0) return (r < 0) != (b < 0) ? r + b : r;
  return copysign((T)0, b);
}

// Rounded to minus infinity. (a - r) / b is a whole number but for its last rounding.
T quotient_of(T a, T b) {
  if (b == 0) return a / b;
  const T r = fmod(a, b);
  T quotient = (a - r) / b;
  if (r != 0 && (r < 0) != (b < 0)) quotient -= 1;
  return quotient == 0 ? copysign((T)0, a / b) : rint(quotient);
}

TYPE(DST) apply(T a, T b) {
  switch (KIND) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return a / b;
    case 4: return pow(a, b);
    case 5: return a > b ? a : a != a ? a : b;  // NaN wins from either side
    case 6: return a < b ? a : a != a ? a : b;
    case 7: return quotient_of(a, b);
    case 8: return remainder_of(a, b);
    case 9: return atan2(a, b);
    case 10: return b > 0 ? a : 0;
    case 11: return a == b;
    case 12: return a != b;
    case 13: return a < b;
    case 14: return a <= b;
    case 15: return a > b;
    case 16: return a >= b;
  }
  return 0;
}

#else

// Of the negative powers only those of 1 and -1 are integers; the others give 0.
T power_of(T a, T b) {
  if (b < 0) return a == 1 ? 1 : a != -1 ? 0 : b & 1 ? -1 : 1;
  W power = 1, base = (W)a;
  for (; b != 0; b >>= 1, base *= base) {
    if (b & 1) power *= base;
  }
  return (T)power;
}

// By 0 both are 0; the smallest number by -1 would trap.
T remainder_of(T a, T b) {
  if (b == 0 || b == -1) return 0;
  const T r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

T quotient_of(T a, T b) {
  if (b == 0) return 0;
  if (b == -1) return (T)(-(W)a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

TYPE(DST) apply(T a, T b) {
  const W last = 8 * sizeof(T) - 1;  // shifts by more, or by a negative number, move every bit out
  switch (KIND) {
    case 0: return (T)((W)a + (W)b);
    case 1: return (T)((W)a - (W)b);
    case 2: return (T)((W)a * (W)b);
    case 4: return power_of(a, b);
    case 5: return a > b ? a : b;
    case 6: return a < b ? a : b;
    case 7: return quotient_of(a, b);
    case 8: return remainder_of(a, b);
    case 10: return b > 0 ? a : 0;
    case 11: return a == b;
    case 12: return a != b;
    case 13: return a < b;
    case 14: return a <= b;
    case 15: return a > b;
    case 16: return a >= b;
    case 17: return a && b;
    case 18: return a || b;
    case 19: return (a != 0) != (b != 0);
    case 20: return a & b;
    case 21: return a | b;
    case 22: return a ^ b;
    case 23: return (W)b <= last ? (T)((W)a << (W)b) : 0;
    case 24: return a >> ((W)b <= last ? (T)b : (T)last);
  }
  return 0;
}

#endif

kernel void binary(global uchar* dst, global const uchar* a, global const uchar* b, const Places at) {
  const long i = get_global_id(0);
  if (i >= at.size) return;
  long places[VIEWS];
  locate(&at, i, places);
  STORE(DST, dst, places[0], apply(LOAD(A, a, places[1]), LOAD(A, b, places[2])));
}
